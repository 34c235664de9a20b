from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from datamodules.alignment import celeba_quad, ffhq_quad
from experiments.networks import (
    built,
    checkpoint_file,
    trained_network,
    untrained,
    view_of,
    with_weights,
)
from experiments.settings import SettingsError, load_chain
from lightning_modules.checkpoints import read_checkpoint, write_checkpoint
from tests.experiments.carried import small_run
from tests.experiments.tiny import TinyTraining, pair


@pytest.fixture
def run(command: Callable[..., int], tmp_path: Path) -> Path:
    assert command("fit", "--evaluate=false") == 0
    return tmp_path / "runs" / "tiny_smoke"


def altered(run: Path, **changes: object) -> Path:
    """A checkpoint of which the suite's own part says something else."""
    state = read_checkpoint(checkpoint_file(run))
    state["visagist"] |= changes
    path = run / "altered.ckpt"
    write_checkpoint(state, path)
    return path


def test_a_run_gives_its_method_with_the_trained_weights(run: Path) -> None:
    method = trained_network(run)
    weights = read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]
    assert weights
    for name, value in method.state_dict().items():
        assert torch.equal(value, weights[name])
    assert not method.training
    assert not any(p.requires_grad for p in method.parameters())
    assert "TinyTraining" in method.settings
    assert method.max_batches == 2  # a key of the run
    image = pair()["image"][None]
    assert method.restore({"image": image}).image.shape == image.shape


def test_a_folder_means_its_last_checkpoint(run: Path) -> None:
    last = run / "checkpoints" / "last.ckpt"
    assert checkpoint_file(run) == checkpoint_file(last) == last
    with pytest.raises(SettingsError, match=r"no checkpoint at .*nothing: name a \.ckpt file"):
        checkpoint_file(run / "nothing")


def test_an_untrained_method_takes_the_weights_later(run: Path) -> None:
    method, state = untrained(run)
    method.load_state_dict({k: torch.zeros_like(v) for k, v in method.state_dict().items()})
    made = with_weights(method, state)
    assert made is method
    assert all(torch.equal(v, state["state_dict"][k]) for k, v in made.state_dict().items())


def test_a_method_that_makes_no_pictures_of_pictures_is_refused(tmp_path: Path) -> None:
    folder = small_run("inversion_iterative_noise", tmp_path)
    with pytest.raises(SettingsError, match=r"IterativeInversion, which does not turn pictures"):
        trained_network(folder)


def test_a_checkpoint_that_cannot_be_used_is_told_of(run: Path) -> None:
    with pytest.raises(SettingsError, match=r"altered\.ckpt is of Other"):
        trained_network(altered(run, method="Other"))
    with pytest.raises(SettingsError, match="does not tell what it was trained by"):
        trained_network(altered(run, settings=""))
    (run / "altered.ckpt").write_bytes(b"words")
    with pytest.raises(SettingsError, match="is truncated, or was not written by this suite"):
        trained_network(run / "altered.ckpt")


def test_a_checkpoint_brings_the_genotype_that_its_settings_name_a_file_of(tmp_path: Path) -> None:
    settings = load_chain("nasfe", "smoke").settings
    state = built(settings).state_dict()
    fusion = settings["model"]["init_args"]["network"]["init_args"]["fusion"]["init_args"]
    fusion["genotype"] = str(tmp_path / "lost.json")
    with pytest.raises(SettingsError, match=r"no genotype at .*lost\.json"):
        built(settings)
    method = built(settings, state)
    method.load_state_dict(state)
    assert fusion["genotype"].endswith("lost.json")
    with pytest.raises(SettingsError, match="the weights' genotype does not fit the settings"):
        built(settings, {"network.fusion.genotype": torch.tensor([255], dtype=torch.uint8)})


def trained_on(class_path: str, **init_args: object) -> TinyTraining:
    method = TinyTraining()
    method.settings = yaml.safe_dump({"data": told(class_path, **init_args)})
    return method


def told(class_path: str, **init_args: object) -> dict[str, object]:
    return {"class_path": class_path, "init_args": init_args}


def test_a_face_is_seen_as_the_run_was_trained() -> None:
    plain = trained_on("datamodules.ffhq.FFHQ", size=96)
    assert view_of(plain).size == (96, 96)
    assert view_of(plain, 64).size == (64, 64)
    assert view_of(plain).quad is ffhq_quad
    celeba = told("datamodules.celeba.CelebA", crop=[96, 80])
    across = trained_on("datamodules.across.Across", train=celeba, test=celeba)
    view = view_of(across)
    assert (view.size, view.quad) == ((96, 80), celeba_quad)
    larger = view_of(across, 192)
    assert (larger.size, larger.share) == ((192, 160), view.share)
    with pytest.raises(SettingsError, match="by --size"):
        view_of(TinyTraining())
