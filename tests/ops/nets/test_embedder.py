import pytest
import torch
import torch.nn.functional as F

from ops.nets.embedder import Embedder


def network(**settings):
    torch.manual_seed(0)
    return Embedder(**{"backbone": "test_resnet", "dimensions": 8, "size": 32} | settings)


def trained_a_little(**settings):
    """A network whose running statistics are no longer those it began with."""
    made = network(**settings).train()
    for _ in range(3):
        made(torch.rand(6, 3, 32, 32))
    return made.eval()


def test_an_embedding_has_the_dimensions_asked_for_and_is_not_normalised():
    found = trained_a_little()(torch.rand(3, 3, 32, 32))
    assert found.shape == (3, 8)
    assert not torch.allclose(found.norm(dim=1), torch.ones(3), atol=0.05)


def test_normalised_embeddings_have_length_1_and_the_same_direction():
    made, image = trained_a_little(), torch.rand(3, 3, 32, 32)
    found = made.normalised(image)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(found, F.normalize(made(image)))


def test_the_embedding_is_the_normed_projection_of_the_mean_of_the_last_map():
    made, image = trained_a_little(), torch.rand(2, 3, 32, 32)
    maps = made.trunk.forward_features(2 * image - 1)
    vector = maps.flatten(2).mean(2) @ made.projection.weight.T
    norm = made.norm
    scaled = (vector - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
    torch.testing.assert_close(made(image), scaled * norm.weight + norm.bias)


@pytest.mark.parametrize("shape", [(32, 32), (45, 31), (64, 64), (20, 20)])
def test_an_image_of_any_size_is_looked_at_in_the_networks_own(shape):
    made, image = trained_a_little(), torch.rand(2, 3, *shape)
    resized = F.interpolate(image, (32, 32), mode="bilinear", antialias=True)
    torch.testing.assert_close(made(image), made(resized))


def test_only_the_view_in_the_middle_counts():
    made, image = trained_a_little(view=0.5), torch.rand(2, 3, 64, 64)
    changed = image.clone()
    changed[..., :16, :] = changed[..., 48:] = 0
    torch.testing.assert_close(made(changed), made(image))
    changed[..., 16:20, 16:48] = 0
    assert not torch.allclose(made(changed), made(image))


def test_the_names_lead_from_fine_maps_to_coarse_ones():
    made = network(size=64)
    found = made.activations(torch.rand(2, 3, 64, 64), made.names)
    assert list(found) == list(made.names)
    sides = [maps.shape[-1] for maps in found.values()]
    assert sides == sorted(sides, reverse=True)
    assert len(set(sides)) >= 4


def test_an_activation_is_the_output_of_the_layer_of_that_name():
    made, image = trained_a_little(), torch.rand(1, 3, 32, 32)
    last = made.activations(image, made.names[-1:])[made.names[-1]]
    torch.testing.assert_close(last, made.trunk.forward_features(2 * image - 1))


def test_activations_leave_no_trace_in_the_network():
    made, image = trained_a_little(), torch.rand(1, 3, 32, 32)
    before = made(image)
    made.activations(image, made.names)
    assert all(not module._forward_hooks for module in made.modules())
    torch.testing.assert_close(made(image), before)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"layer1, .*; got \['layer9'\]"):
        network().activations(torch.rand(1, 3, 32, 32), ["layer9"])


def test_a_frozen_embedder_gives_gradients_to_the_image_alone():
    judge, image = network().frozen(), torch.rand(2, 3, 32, 32, requires_grad=True)
    assert image.grad is None
    (judge(image).sum() + judge.activations(image, ["layer1"])["layer1"].sum()).backward()
    assert image.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in judge.parameters())


def test_a_frozen_embedder_stays_as_it_is_inside_a_network_in_training():
    judge, image = trained_a_little().frozen(), torch.rand(4, 3, 32, 32)
    before = {name: value.clone() for name, value in judge.state_dict().items()}
    expected, length = judge(image), judge.normalised(image)
    torch.nn.ModuleList([judge]).train()
    torch.testing.assert_close(judge(image), expected, rtol=0, atol=0)
    torch.testing.assert_close(judge.normalised(image), length, rtol=0, atol=0)
    assert all(torch.equal(value, before[name]) for name, value in judge.state_dict().items())


def test_a_frozen_embedders_answer_does_not_depend_on_its_neighbours():
    judge, image = trained_a_little().frozen().train(), torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(judge(image)[:1], judge(image[:1]))


def test_a_frozen_embedder_tells_what_its_network_tells():
    made = network()
    made.origin = "ours, last.ckpt"
    judge = made.frozen()
    assert (judge.origin, judge.dimensions) == ("ours, last.ckpt", made.dimensions)
    assert judge(torch.rand(2, 3, 32, 32)).shape == (2, judge.dimensions)
    assert "resnet18" in Embedder("resnet18").origin


def test_gradients_reach_a_large_image_through_the_resizing():
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    network(view=0.75).frozen()(image).sum().backward()
    seen = image.grad[0].abs().sum(0) > 0
    assert seen[10:54, 10:54].float().mean() > 0.99
    assert not seen[:8].any()


def test_bf16_embeddings_are_normalised_in_float32():
    made = trained_a_little()
    with torch.autocast("cpu", torch.bfloat16):
        found = made.normalised(torch.rand(2, 3, 32, 32))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))


@pytest.mark.usefixtures("unchecked_types")
def test_it_can_be_exported():
    made, image = trained_a_little(), torch.rand(2, 3, 32, 32)
    exported = torch.export.export(made, (image,)).module()
    torch.testing.assert_close(exported(image), made(image))


def test_an_unknown_backbone_is_refused_with_those_like_it():
    with pytest.raises(ValueError, match=r"no backbone 'resnet1'; there are .*resnet1"):
        Embedder("resnet1")
    with pytest.raises(ValueError, match=r"see timm\.list_models"):
        Embedder("nothing of the kind")


@pytest.mark.parametrize("wrong", [{"dimensions": 1}, {"size": 8}, {"view": 0.0}, {"view": 1.5}])
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="dimensions must be 2 or more, size 16 or more and view"):
        network(**wrong)
