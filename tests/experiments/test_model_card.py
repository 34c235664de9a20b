import json
from pathlib import Path

import pytest

from experiments.exportable import exportable
from experiments.model_card import Check, card
from experiments.networks import built
from experiments.settings import load_chain

CHECKS = [Check(((1, 3, 64, 64),), 2e-6)]
TABLE = "experiment,scale,method,n,psnr\ncrn_mt,smoke,identity,2,29.5\ncrn_mt,smoke,output,2,31.5\n"


@pytest.fixture(autouse=True)
def _no_words_of_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # as the command line has it


def written(name: str, folder: Path, form: str = "onnx", **changed: object) -> str:
    settings = load_chain(name, "smoke").settings
    settings |= {"experiment": name, "scale": "smoke", **changed}
    network = exportable(built(settings).eval())
    return card(network, settings, folder / "checkpoints" / "last.ckpt", form, CHECKS)


def test_a_card_tells_what_the_network_is_and_how_it_was_checked(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text(TABLE)
    told = {"commit": "abc", "uncommitted_changes": False}
    (tmp_path / "environment.json").write_text(json.dumps(told))
    text = written("crn_mt", tmp_path)
    for part in (
        "paper: Makeup-Go",
        "ComponentRegression with CRN",
        "1 x 3 x 64 x 64: 2e-06",
        "commit: abc",
        "| output | 2 | 31.50 |",
        "test/psnr: 40.90",
        "code: Apache-2.0",
        "drawn faces of nobody",
    ):
        assert part in text


def test_a_card_of_an_untested_run_says_so(tmp_path: Path) -> None:
    text = written("crn_mt", tmp_path)
    assert "Not tested." in text
    assert "commit" not in text


def test_photographs_bring_the_licence_of_their_set(tmp_path: Path) -> None:
    settings = load_chain("retouchformer_gamma0.1", "smoke").settings["data"]
    settings["init_args"]["draw"] = None
    text = written("retouchformer_gamma0.1", tmp_path, data=settings)
    assert "FFHQR: CC BY-NC-SA 4.0" in text
    assert "weights: nobody has licensed them" in text


def test_an_inverter_is_told_to_be_for_audits_alone(tmp_path: Path) -> None:
    text = written("inversion_ff_dot", tmp_path)
    assert "This is template inversion" in text
    assert "auditing" in text.lower()


def test_a_card_of_a_trace_names_its_one_size(tmp_path: Path) -> None:
    assert "a batch of 1 and 64 x 64 alone" in written("crn_mt", tmp_path, "torchscript")
