import pytest
import torch

from ops.nets.crn import CRN


def small(heads: tuple[int, ...] = (3, 3, 5)) -> CRN:
    return CRN(heads, width=6, shrink=4, expand=7, mapping=2, trunk=2)


def unblocked(net: CRN) -> CRN:
    """The network with positive weights: nothing cancels and nothing is cut off."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_().add_(0.1)
    return net


def test_the_parameters_are_those_of_the_papers_layers() -> None:
    trunk_weights = 9 * 3 * 56 + 2 * 9 * 56 * 56
    trunk = trunk_weights + 2 * 3 * 56  # a bias and a slope for each channel
    branch_weights = 56 * 12 + 3 * 9 * 12 * 12 + 12 * 64 + 9 * 64 * 3
    branch = branch_weights + 2 * (12 + 3 * 12 + 64) + 3
    net = CRN([3] * 8)
    assert sum(p.numel() for p in net.parameters()) == trunk + 8 * branch == 116_560
    assert sum(p.numel() for p in net.trunk.parameters()) == 58_296


@pytest.mark.parametrize("heads", [(3,), (3,) * 7 + (342,)])
def test_a_head_has_its_own_number_of_channels(heads: tuple[int, ...]) -> None:
    net = CRN(list(heads))
    assert net.heads == heads
    outputs = net(torch.rand(1, 3, 8, 8))
    assert [tuple(output.shape) for output in outputs] == [(1, count, 8, 8) for count in heads]
    grown = sum(p.numel() for p in CRN(heads).parameters())
    assert grown - sum(p.numel() for p in CRN([3] * len(heads)).parameters()) == (
        (sum(heads) - 3 * len(heads)) * (9 * 64 + 1)
    )


@pytest.mark.parametrize("size", [(1, 1), (7, 13), (20, 5)])
def test_zero_padding_keeps_any_size(size: tuple[int, int]) -> None:
    for output in small()(torch.rand(2, 3, *size)):
        assert output.shape[-2:] == size


def test_a_pixel_sees_fifteen_by_fifteen() -> None:
    net = unblocked(CRN([3, 3], width=4, shrink=3, expand=5))
    image = torch.rand(1, 3, 31, 31, requires_grad=True)
    net(image)[1][0, 0, 15, 15].backward()
    seen = image.grad.abs().sum((0, 1)) > 0
    assert seen[8:23, 8:23].all()
    assert seen.sum() == 15**2


def test_the_trunk_sees_the_image_around_zero() -> None:
    net, seen = small(), []
    net.trunk.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    net(torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 1, 3).expand(1, 3, 1, 3))
    assert seen[0][0, 0, 0].tolist() == [-1, 0, 1]


def test_every_parameter_gets_a_gradient_from_the_first_step_on() -> None:
    net = CRN([3] * 8)
    torch.cat(net(torch.rand(2, 3, 16, 16)), 1).sub(1).square().sum().backward()
    without = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_every_layer_of_every_branch_is_moved_by_an_optimizer_of_the_networks_parameters() -> None:
    net = small()
    weights = [weight for part in (net.trunk, *net.branches) for weight in part.parameters()]
    before = [weight.detach().clone() for weight in weights]
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    torch.cat(net(torch.rand(2, 3, 16, 16)), 1).sub(1).square().sum().backward()
    optimizer.step()
    assert not any(torch.equal(a, b) for a, b in zip(weights, before, strict=True))


def test_no_output_starts_at_zero_and_no_features_vanish() -> None:
    net, image = CRN([3] * 8), torch.rand(2, 3, 16, 16)
    assert all(output.std() > 1e-4 for output in net(image))
    assert net.trunk(image).std() > 0.01


@pytest.mark.parametrize("head", [0, 2])
def test_the_loss_of_a_head_moves_its_branch_and_the_trunk_only(head: int) -> None:
    net = small()
    net(torch.rand(2, 3, 16, 16))[head].sub(1).square().sum().backward()
    moved = {name for name, p in net.named_parameters() if p.grad is not None and p.grad.any()}
    own = {n for n, _ in net.named_parameters() if n.startswith(("trunk.", f"branches.{head}."))}
    assert moved == own


def test_a_change_of_one_branch_leaves_the_other_outputs_their_bits() -> None:
    net, image = small(), torch.rand(1, 3, 9, 9)
    before = net(image)
    with torch.no_grad():
        for parameter in net.branches[1].parameters():
            parameter.add_(0.1)
    after = net(image)
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [True, False, True]


def test_it_learns_maps_of_its_heads() -> None:
    net, image = small((3, 1)), torch.rand(4, 3, 16, 16)
    targets = [1 - 2 * image, image.mean(1, keepdim=True) * -2]
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for _ in range(120):
        pairs = zip(net(image), targets, strict=True)
        loss = torch.stack([(output - target).square().mean() for output, target in pairs])
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        losses.append(loss.detach())
    assert (losses[-1] < losses[0] / 3).all()


def test_bf16_autocast_stays_close() -> None:
    net, image = CRN([3, 3]), torch.rand(1, 3, 16, 16)
    expected = net(image)
    with torch.autocast("cpu", torch.bfloat16):
        found = net(image)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == torch.bfloat16
        assert (a.float() - b).norm() < 0.05 * b.norm()


def test_channels_last_gives_the_same() -> None:
    net, image = CRN([3, 3]), torch.rand(1, 3, 17, 15)
    expected = net(image)
    moved = net.to(memory_format=torch.channels_last)
    found = moved(image.to(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_the_exported_network_agrees_at_any_size(unchecked_types) -> None:
    net = small().eval()
    shapes = ({0: torch.export.Dim("b"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")},)
    program = torch.export.export(net, (torch.rand(2, 3, 16, 20),), dynamic_shapes=shapes)
    other = torch.rand(3, 3, 31, 9)
    torch.testing.assert_close(program.module()(other), net(other))


def test_a_saved_network_comes_back_with_all_its_branches() -> None:
    first, second, image = small(), small(), torch.rand(1, 3, 9, 9)
    second.load_state_dict(first.state_dict())
    for a, b in zip(first(image), second(image), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("heads", "sizes", "message"),
    [
        ((), {}, r"at least one head and one trunk layer, got heads \[\] and trunk 3"),
        ((3,), {"trunk": 0}, r"got heads \[3\] and trunk 0"),
        ((3, 0), {}, "at least one channel, got 64 to 0"),
        ((3,), {"mapping": 0}, "mapping must be at least one layer, got 0"),
        ((3,), {"shrink": 0}, "at least one channel, got"),
    ],
)
def test_sizes_that_cannot_be_are_refused(heads, sizes, message) -> None:
    with pytest.raises(ValueError, match=message):
        CRN(heads, **sizes)
