import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from experiments import export
from experiments.__main__ import main
from experiments.export import FORMATS, LARGEST
from experiments.exportable import exportable
from experiments.networks import built
from experiments.settings import SettingsError, load_chain, names
from lightning_modules.base import Training
from lightning_modules.run import Run

IN_ONNX = (
    "crn_ins",
    "ispl_deblur",
    "nasfe",
    "retouchformer_gamma0.01",
    "inversion_ff_112_tv1e-3",
)
NOT_EXPORTED = ("DegradationClassification", "IterativeInversion", "FusionSearch")


@pytest.fixture(autouse=True)
def _no_words_of_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # as the command line has it


def classes(settings: object) -> Iterator[str]:
    """The classes that settings name, in their order."""
    if isinstance(settings, dict):
        if "class_path" in settings:
            yield settings["class_path"]
        for value in settings.values():
            yield from classes(value)


def representatives() -> list[str]:
    """One experiment of each method and each network that is made of other classes."""
    found: dict[str, str] = {}
    for name in names():
        model = load_chain(name, "smoke").settings["model"]
        key = [model["class_path"], *classes(model.get("init_args", {}).get("network"))]
        found.setdefault(json.dumps(key), name)
    return list(found.values())


def trained(name: str) -> Run:
    """The method of an experiment at smoke scale, with weights that no layer is silent for."""
    settings = load_chain(name, "smoke").settings
    method = built(settings)
    method.settings = yaml.safe_dump(settings | {"experiment": name, "scale": "smoke"})
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return method.eval().requires_grad_(False)


def kinds(name: str) -> list[str]:
    return ["pt2", "onnx"] if name in IN_ONNX else ["pt2"]


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name in representatives() for kind in kinds(name)]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_an_exported_network_answers_as_the_network_does(
    name: str, kind: str, tmp_path: Path, unchecked_types: None
) -> None:
    method = trained(name)
    if type(method).__name__ in NOT_EXPORTED:
        with pytest.raises(SettingsError, match="no network to export"):
            exportable(method)
        return
    path, checks = export.export(method, kind, tmp_path, tmp_path / "run" / "x" / "last.ckpt")
    assert len(checks) == 2
    assert all(check.difference <= LARGEST for check in checks)
    assert sorted(each.name for each in tmp_path.iterdir()) == [path.name, f"{path.name}.md"]


def test_every_experiment_that_restores_images_is_among_those_or_like_one() -> None:
    assert set(IN_ONNX) <= set(representatives())
    ours = {type(trained(name)).__name__ for name in representatives()}
    every = {load_chain(name, "smoke").settings["model"]["class_path"] for name in names()}
    assert {path.rpartition(".")[2] for path in every} == ours


@pytest.mark.parametrize("kind", ["torchscript", "safetensors"])
def test_a_file_of_one_size_or_of_weights_answers_as_the_network_does(
    kind: str, tmp_path: Path, unchecked_types: None
) -> None:
    path, checks = export.export(trained("crn_mt"), kind, tmp_path, tmp_path / "a" / "b" / "c.ckpt")
    assert path.suffix == FORMATS[kind].suffix
    assert all(check.difference <= LARGEST for check in checks)


def test_weights_come_back_with_their_settings_and_without_what_only_trains(
    tmp_path: Path, unchecked_types: None
) -> None:
    method = trained("perception_mt")
    path, _ = export.export(method, "safetensors", tmp_path, tmp_path / "a" / "b" / "c.ckpt")
    back = export.read_weights(path)
    image = torch.rand(1, 3, 32, 32)
    assert isinstance(back, Training)
    assert isinstance(method, Training)
    torch.testing.assert_close(back.restore({"image": image}), method.restore({"image": image}))
    assert not hasattr(method, "discriminator")
    told = yaml.safe_load(back.settings)
    assert told == export.public(yaml.safe_load(method.settings))
    assert "root" not in str(told["data"])
    assert "run_dir" not in told


def test_a_file_that_answers_otherwise_is_refused_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unchecked_types: None
) -> None:
    monkeypatch.setattr(export, "LARGEST", -1.0)
    with pytest.raises(SettingsError, match="differs by 0 from the network itself"):
        export.export(trained("crn_mt"), "safetensors", tmp_path, tmp_path / "a" / "b.ckpt")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(SettingsError, match=r"onnxscript is not installed: pip .*\[export\]"):
        export.export(trained("crn_mt"), "onnx", tmp_path, tmp_path / "a" / "b.ckpt")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--format=onx"], "no format 'onx': did you mean 'onnx'?"),
        (["--format=caffe"], "no format 'caffe'; there are onnx, torchscript, pt2, safetensors"),
        ([], "no checkpoint at"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    front = ["export", f"--ckpt={tmp_path / 'none.ckpt'}", f"--to={tmp_path}"]
    assert main([*front, *arguments]) == 2
    assert told in capsys.readouterr().err


def test_a_foreign_file_of_weights_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(SettingsError, match="does not tell what it was trained by"):
        export.read_weights(tmp_path / "x.safetensors")
