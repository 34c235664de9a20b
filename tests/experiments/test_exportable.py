import pytest
import torch

from experiments.exportable import LEAST, exportable, idle_parts
from experiments.networks import built
from experiments.settings import load_chain


@pytest.fixture(autouse=True)
def _no_words_of_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # as the command line has it


def network_of(name: str):
    settings = load_chain(name, "smoke").settings
    method = built(settings).eval().requires_grad_(False)
    return method, exportable(method)


def test_a_restoring_network_gives_what_restore_gives(unchecked_types: None) -> None:
    method, network = network_of("crn_mt")
    (image,) = network.example(2, 40, 56)
    (restored,) = network.answer((image,))
    assert torch.equal(restored, method.restore({"image": image}).image)
    assert network.free
    assert network.sizes[0] == (1, LEAST, LEAST)


def test_a_masking_network_gives_its_mask_beside_the_image(unchecked_types: None) -> None:
    method, network = network_of("retouchformer_gamma0.1")
    given = network.example(1, 64, 64)
    wanted = method.restore({"image": given[0]})
    for one, other in zip(network.answer(given), wanted, strict=True):
        assert torch.equal(one, other)
    assert list(network.outputs) == ["restored", "mask"]


def test_what_only_trains_is_left_behind() -> None:
    method, _ = network_of("ispl_sr16_unet")
    assert idle_parts(method) == set()
    assert {name for name, _ in method.named_children()} == {"network"}


def test_a_network_guided_by_parsing_maps_takes_one(unchecked_types: None) -> None:
    method, network = network_of("ispl_sr16_ep_map")
    image, parsing = network.example(1, 64, 72)
    (restored,) = network.answer((image, parsing))
    assert torch.equal(restored, method.restore({"image": image, "parsing": parsing}).image)


def test_an_embedder_takes_the_one_size_that_it_does_not_resize(unchecked_types: None) -> None:
    method, network = network_of("embedder_demo")
    side = network.inputs["image"].shape[-1]
    assert not network.free
    assert round(side * method.network.view) == method.network.size


def test_an_inverter_takes_an_embedding_and_a_guide_where_it_has_one(unchecked_types: None) -> None:
    for name, inputs in (("inversion_ff_dot", 1), ("inversion_ff_guided", 2)):
        method, network = network_of(name)
        given = network.example(3, 0, 0)
        assert len(given) == inputs
        assert torch.equal(network.answer(given)[0], method.network(*given))


def test_examples_are_the_same_for_a_seed_and_differ_for_another() -> None:
    _, network = network_of("crn_mt")
    one, same, other = (network.example(1, 64, 64, seed)[0] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
