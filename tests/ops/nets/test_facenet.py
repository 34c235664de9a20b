import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ops.nets.facenet import FaceNet, InceptionResnetV1
from ops.nets.weights import known_hashes, origin


@pytest.fixture(scope="module")
def untrained():
    """With BatchNorms that do something, as those of a trained network do."""
    net = FaceNet(seed=1)
    generator = torch.Generator().manual_seed(0)
    for name, value in net.network.named_buffers():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2, generator=generator)
        elif name.endswith("running_mean"):
            value.normal_(0, 0.1, generator=generator)
    return net


@pytest.fixture(scope="module")
def image():
    return torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(3))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def conv(inputs: int, outputs: int, pixels: int) -> int:
    """Parameters of a convolution without bias and of its BatchNorm."""
    return inputs * outputs * pixels + 2 * outputs


def test_every_stage_has_the_papers_number_of_parameters():
    with torch.device("meta"):
        net = InceptionResnetV1()
    block35 = 3 * conv(256, 32, 1) + 3 * conv(32, 32, 9) + 97 * 256
    block17 = 2 * conv(896, 128, 1) + 2 * conv(128, 128, 7) + 257 * 896
    block8 = 2 * conv(1792, 192, 1) + 2 * conv(192, 192, 3) + 385 * 1792
    reduction_a = conv(256, 384, 9) + conv(256, 192, 1) + conv(192, 192, 9) + conv(192, 256, 9)
    reduction_b = 3 * conv(896, 256, 1) + conv(256, 384, 9) + 3 * conv(256, 256, 9)
    stem = conv(3, 32, 9) + conv(32, 32, 9) + conv(32, 64, 9) + conv(64, 80, 1)
    stem += conv(80, 192, 9) + conv(192, 256, 9)
    stages = {
        "repeat_1": 5 * block35,
        "mixed_6a": reduction_a,
        "repeat_2": 10 * block17,
        "mixed_7a": reduction_b,
        "repeat_3": 5 * block8,
        "block8": block8,
        "last_linear": 1792 * 512,
        "last_bn": 1024,
        "logits": 513 * 8631,
    }
    assert {name: count(net.get_submodule(name)) for name in stages} == stages
    assert count(net) == stem + sum(stages.values()) == 27_910_327


def test_names_are_those_of_facenet_pytorch():
    with torch.device("meta"):
        keys = list(InceptionResnetV1().state_dict())
    normalised = 6 + 5 * 6 + 4 + 10 * 4 + 7 + 5 * 4 + 4  # convolutions, stage by stage
    joining = 5 + 10 + 5 + 1
    assert len(keys) == 6 * normalised + 2 * joining + 1 + 5 + 2
    parts = ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
    assert keys[:5] == [f"conv2d_1a.{part}" for part in parts]
    wanted = {
        *("conv2d_4b.conv.weight", "repeat_1.0.branch0.conv.weight", "repeat_1.4.conv2d.bias"),
        *("repeat_1.2.branch2.2.bn.running_var", "mixed_6a.branch1.2.conv.weight"),
        *("repeat_2.9.branch1.1.conv.weight", "mixed_7a.branch2.2.bn.bias", "block8.conv2d.weight"),
        *("repeat_3.4.branch1.2.conv.weight", "last_linear.weight", "last_bn.running_mean"),
        *("logits.weight", "logits.bias"),
    }
    assert wanted <= set(keys)


def test_kernels_lie_as_published():
    with torch.device("meta"):
        state = InceptionResnetV1().state_dict()
    assert state["repeat_2.0.branch1.1.conv.weight"].shape == (128, 128, 1, 7)
    assert state["repeat_2.0.branch1.2.conv.weight"].shape == (128, 128, 7, 1)
    assert state["block8.branch1.1.conv.weight"].shape == (192, 192, 1, 3)
    assert state["repeat_3.0.conv2d.weight"].shape == (1792, 384, 1, 1)


def test_maps_have_the_sizes_of_an_image_of_160(untrained, image):
    maps = untrained.activations(image, untrained.names)
    assert tuple(maps) == untrained.names
    sizes = [tuple(x.shape[1:]) for x in maps.values()]
    assert sizes == [
        *((32, 79, 79), (32, 77, 77), (64, 77, 77), (64, 38, 38), (80, 38, 38), (192, 36, 36)),
        *((256, 17, 17), (256, 17, 17), (896, 8, 8), (896, 8, 8), (1792, 3, 3), (1792, 3, 3)),
        (1792, 3, 3),
    ]
    assert maps["block8"].min() < 0 <= maps["repeat_3"].min()


def test_a_residual_is_scaled_as_published(untrained, image):
    maps = untrained.activations(image, ["conv2d_4b", "mixed_7a", "repeat_3", "block8"])
    for name, before, scale in (("repeat_1.0", "conv2d_4b", 0.17), ("repeat_3.0", "mixed_7a", 0.2)):
        block, x = untrained.network.get_submodule(name), maps[before]
        parts = [branch(x) for key, branch in block.named_children() if key.startswith("branch")]
        expected = F.relu(x + scale * block.conv2d(torch.cat(parts, 1)))
        torch.testing.assert_close(block(x), expected)
    last, x = untrained.network.block8, maps["repeat_3"]
    joined = last.conv2d(torch.cat([last.branch0(x), last.branch1(x)], 1))
    torch.testing.assert_close(maps["block8"], x + joined)


def test_the_embedding_is_what_follows_the_last_normalisation(untrained, image):
    net = untrained.network
    embedding = untrained(image)
    assert embedding.shape == (2, 512)
    pooled = untrained.activations(image, ["block8"])["block8"].mean((2, 3))
    torch.testing.assert_close(embedding, net.last_bn(net.last_linear(pooled)))
    torch.testing.assert_close(untrained.normalised(image), F.normalize(embedding))
    torch.testing.assert_close(net((255 * image - 127.5) / 128), embedding)


def test_it_is_frozen_and_gives_the_same_even_where_it_is_put_into_training(untrained, image):
    before = untrained(image)
    untrained.train()
    assert torch.equal(untrained(image), before)
    asked = image[:1].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(untrained(asked).sum(), asked)
    assert gradient.any()
    assert not any(parameter.requires_grad for parameter in untrained.parameters())


def test_an_image_of_another_size_is_brought_to_160(untrained, image):
    large = F.interpolate(image[:1], (200, 180), mode="bilinear")
    small = F.interpolate(large, (160, 160), mode="bilinear", antialias=True)
    torch.testing.assert_close(untrained(large), untrained(small))


def test_a_file_is_loaded_key_by_key_for_any_number_of_people(untrained, image, tmp_path):
    state = untrained.network.state_dict()
    state |= {"logits.weight": torch.zeros(7, 512), "logits.bias": torch.zeros(7)}
    torch.save(state, tmp_path / "casia.pt")
    loaded = FaceNet(str(tmp_path / "casia.pt"))
    assert torch.equal(loaded(image), untrained(image))
    assert (loaded.comparable, untrained.comparable) == (True, False)
    assert loaded.origin == f"FaceNet of {origin(tmp_path / 'casia.pt')}"
    assert untrained.origin == "FaceNet without weights"
    del state["last_bn.bias"]
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt does not hold .*last_bn\.bias"):
        FaceNet(str(tmp_path / "other.pt"))


def test_a_file_that_only_has_the_name_of_the_published_one_is_refused(tmp_path):
    path = tmp_path / "20180402-114759-vggface2.pt"
    torch.save({}, path)
    with pytest.raises(ValueError, match=f"expected {known_hashes()[path.name]} as the published"):
        FaceNet(str(path))


def test_untrained_weights_depend_on_their_seed_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = FaceNet(seed=2).network.conv2d_1a.conv.weight
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(6)
    assert torch.equal(FaceNet(seed=2).network.conv2d_1a.conv.weight, first)
    assert not torch.equal(FaceNet(seed=3).network.conv2d_1a.conv.weight, first)


def test_an_unknown_stage_is_refused(untrained, image):
    with pytest.raises(ValueError, match=r"activations are those of conv2d_1a, .*; got \['fc'\]"):
        untrained.activations(image, ["fc"])
