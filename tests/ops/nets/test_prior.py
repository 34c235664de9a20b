from pathlib import Path

import pytest
import torch

from ops.nets.prior import SeparatePrior, SharedPrior


def shared() -> SharedPrior:
    prior = SharedPrior(8, codes=16, code_dim=4, widths=(4, 4, 6))
    with torch.no_grad():
        torch.nn.init.normal_(prior.decoder.head.weight)
    return prior


def separate(weights: str | None = None) -> SeparatePrior:
    return SeparatePrior(8, weights, encoder=(4, 4, 6), codes=16, code_dim=4, widths=(4, 4, 6))


def test_the_reconstruction_is_an_image_larger_than_the_codes_by_the_decoders_steps() -> None:
    image, features = torch.rand(2, 3, 16, 24), torch.randn(2, 8, 4, 6)
    reconstruction = shared()(image, [features])
    assert reconstruction.image.shape == image.shape
    assert 0 <= reconstruction.image.min() < reconstruction.image.max() <= 1
    assert reconstruction.quantized.indices.shape == (2, 4, 6)


def test_every_feature_is_replaced_by_its_nearest_code() -> None:
    prior = shared()
    found = prior(torch.rand(1, 3, 16, 24), [torch.randn(1, 8, 4, 6)])
    features = found.encoded.movedim(1, -1).reshape(-1, 4)
    nearest = torch.cdist(features, prior.codebook.codes).argmin(1)
    assert torch.equal(found.quantized.indices.flatten(), nearest)


def test_nothing_but_the_codes_reaches_the_reconstruction() -> None:
    prior = shared()
    features = torch.randn(1, 8, 4, 6)
    first = prior(torch.rand(1, 3, 16, 24), [torch.randn(1, 2, 16, 24), features])
    second = prior(torch.rand(1, 3, 16, 24), [torch.randn(1, 2, 16, 24), features])
    assert torch.equal(first.image, second.image)
    codes = prior.codebook.codes[first.quantized.indices].movedim(-1, 1)
    torch.testing.assert_close(prior.decoder(codes), first.image)


def test_the_gradient_of_the_reconstruction_passes_the_codes_on_to_the_features() -> None:
    features = torch.randn(1, 8, 4, 6, requires_grad=True)
    shared()(torch.rand(1, 3, 16, 24), [features]).image.square().sum().backward()
    assert features.grad is not None
    assert features.grad.any()


def test_every_parameter_of_both_priors_learns() -> None:
    image, features = torch.rand(1, 3, 16, 24), [torch.randn(1, 8, 4, 6)]
    other = separate()
    torch.nn.init.normal_(other.shared.decoder.head.weight)
    for prior in (shared(), other):
        found = prior(image, features)
        (found.image.square().sum() + found.quantized.loss).backward()
        without = [n for n, p in prior.named_parameters() if p.grad is None or not p.grad.any()]
        assert without == []


def test_a_separate_prior_sees_the_image_and_not_the_features() -> None:
    prior = separate()
    torch.nn.init.normal_(prior.shared.decoder.head.weight)
    image = torch.rand(1, 3, 16, 24)
    first = prior(image, [torch.randn(1, 8, 4, 6)])
    assert torch.equal(first.image, prior(image, [torch.randn(1, 8, 4, 6)]).image)
    assert not torch.equal(first.image, prior(1 - image, [torch.randn(1, 8, 4, 6)]).image)


@pytest.mark.parametrize("checkpoint", [True, False])
def test_a_trained_separate_prior_is_loaded_and_frozen(tmp_path: Path, checkpoint: bool) -> None:
    trained, path = separate(), tmp_path / "prior.ckpt"
    state = trained.state_dict()
    inside = {f"network.prior.{k}": v for k, v in state.items()} | {"step": torch.tensor(1)}
    torch.save({"state_dict": inside} if checkpoint else state, path)
    torch.manual_seed(5)
    frozen = separate(str(path))
    image = torch.rand(1, 3, 16, 24)
    assert torch.equal(frozen(image, []).image, trained(image, []).image)
    assert not any(p.requires_grad for p in frozen.parameters())


def test_missing_and_foreign_weights_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.ckpt"):
        separate(str(tmp_path / "none.ckpt"))
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match=r"other\.ckpt does not hold this prior"):
        separate(str(tmp_path / "other.ckpt"))
