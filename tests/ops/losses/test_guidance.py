import pytest
import torch

from ops.losses.guidance import guiding_distance
from ops.nets.embedder import Embedder


def maps(count: int = 2) -> dict[str, torch.Tensor]:
    return {"low": torch.randn(count, 3, 8, 6), "high": torch.randn(count, 5, 2, 2)}


def test_it_is_the_weighted_mean_square_of_each_layer_for_each_image() -> None:
    ours, guide = maps(), maps()
    result = guiding_distance(ours, guide, {"low": 2.0, "high": 0.5})
    for i in range(2):
        low = sum(float(d) ** 2 for d in (ours["low"][i] - guide["low"][i]).flatten()) / 144
        high = sum(float(d) ** 2 for d in (ours["high"][i] - guide["high"][i]).flatten()) / 20
        assert result[i].item() == pytest.approx(2 * low + 0.5 * high, rel=1e-5)


def test_a_weight_means_the_same_in_layers_of_any_size() -> None:
    small, large = torch.zeros(1, 2, 3, 3), torch.zeros(1, 64, 50, 50)
    weights = {"small": 1.0, "large": 1.0}
    results = [
        guiding_distance({name: layer + 0.5}, {name: layer}, {name: weights[name]}).item()
        for name, layer in (("small", small), ("large", large))
    ]
    assert results == [pytest.approx(0.25)] * 2


def test_a_layer_without_a_weight_is_not_looked_at() -> None:
    ours, guide = maps(), maps()
    whole = guiding_distance(ours, guide, {"low": 1.0})
    assert torch.equal(guiding_distance({"low": ours["low"]}, guide, {"low": 1.0}), whole)


def test_one_guide_can_serve_all_images() -> None:
    ours, guide = maps(3), maps(1)
    repeated = {name: layer.expand(3, -1, -1, -1) for name, layer in guide.items()}
    weights = {"low": 1.0, "high": 1.0}
    one, many = (guiding_distance(ours, g, weights) for g in (guide, repeated))
    torch.testing.assert_close(one, many)
    assert one.shape == (3,)


def test_only_the_images_that_move_get_a_gradient() -> None:
    ours, guide = torch.randn(2, 2, 3, 4, 4, requires_grad=True)
    ours.retain_grad()
    guide.retain_grad()
    guiding_distance({"a": ours}, {"a": guide}, {"a": 1.0}).sum().backward()
    assert ours.grad is not None
    assert guide.grad is None


def test_its_derivative_is_right() -> None:
    ours, guide = torch.randn(2, 2, 3, 2, 2, dtype=torch.float64)
    ours.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a: guiding_distance({"a": a}, {"a": guide}, {"a": 3.0}), ours
    )


def test_an_image_is_pulled_to_the_guide_by_what_an_embedder_sees() -> None:
    embedder = Embedder("resnet18", 8, 32).frozen()
    names = embedder.embedder.names[:2]
    weights = dict.fromkeys(names, 1.0)
    image, guide = torch.rand(2, 2, 3, 32, 32)
    image.requires_grad_()
    wanted = embedder.activations(guide, names)
    optimizer = torch.optim.Adam([image], 0.02)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = guiding_distance(embedder.activations(image, names), wanted, weights).sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_half_precision_is_averaged_in_float32() -> None:
    ours, guide = ({k: v.bfloat16() for k, v in maps().items()} for _ in range(2))
    weights = {"low": 1.0, "high": 1.0}
    result = guiding_distance(ours, guide, weights)
    assert result.dtype == torch.float32
    as_float = ({k: v.float() for k, v in side.items()} for side in (ours, guide))
    torch.testing.assert_close(result, guiding_distance(*as_float, weights))


@pytest.mark.parametrize(
    ("weights", "message"),
    [({}, "missing are"), ({"low": 1.0, "middle": 1.0}, r"missing are \['middle'\]")],
)
def test_layers_that_are_not_there_are_refused(weights, message) -> None:
    with pytest.raises(ValueError, match=message):
        guiding_distance(maps(), maps(), weights)


@pytest.mark.parametrize("shape", [(2, 3, 8, 1), (3, 3, 8, 6)])
def test_maps_that_differ_are_refused(shape) -> None:
    with pytest.raises(ValueError, match=r"got \(2, 3, 8, 6\) and"):
        guiding_distance(maps(), {"low": torch.zeros(shape)}, {"low": 1.0})
