from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments import other_data
from experiments.other_data import at_root, fragments, scored_on
from experiments.settings import SettingsError, load_chain, names


def roots(data: Any) -> list[tuple[str, Any]]:
    return [
        (place["init_args"]["root"], place["init_args"].get("draw"))
        for place in other_data._places(data)
    ]


@pytest.mark.parametrize("name", ["nasfe", "nasfe_search", "crn_mt", "retouchformer_gamma0.1"])
def test_data_move_to_another_root_however_deep_they_lie_and_are_not_drawn(name: str) -> None:
    settings = load_chain(name, "demo").settings
    before = roots(settings["data"])
    moved = at_root(settings, "elsewhere")
    assert {root for root, _ in roots(moved["data"])} == {"elsewhere"}
    assert {draw for _, draw in roots(moved["data"])} == {None}
    assert roots(settings["data"]) == before


def several_roots(name: str) -> bool:
    data = load_chain(name).settings["data"]
    return len({root for root, _ in roots(data)}) > 1


def test_only_an_experiment_across_two_sets_cannot_be_moved() -> None:
    assert [name for name in names() if several_roots(name)] == ["ispl_facerenov_s2r"]
    with pytest.raises(SettingsError, match="name each by its own setting"):
        at_root(load_chain("ispl_facerenov_s2r").settings, "elsewhere")


def test_settings_without_a_root_cannot_be_moved() -> None:
    with pytest.raises(SettingsError, match="there are: none"):
        at_root({"data": {"class_path": "X", "init_args": {"size": 3}}}, "elsewhere")


def saved(tmp_path: Path) -> dict[str, Any]:
    settings = load_chain("nasfe_bnl_nas", "smoke").settings
    return at_root(settings, "photographs") | {"run_dir": str(tmp_path), "scale": "smoke"}


def test_another_set_of_the_same_kind_lies_where_the_runs_own_lies(tmp_path: Path) -> None:
    settings = scored_on(saved(tmp_path), "celeba_noise")
    conditions = settings["data"]["init_args"]["degradation"]["init_args"]["conditions"]
    assert conditions == [["noise"]]
    assert roots(settings["data"]) == [("photographs", None)]
    assert settings["run_dir"] == f"{tmp_path}/on_celeba_noise"


def test_a_set_of_another_kind_lies_where_its_file_says(tmp_path: Path) -> None:
    ((root, draw),) = roots(scored_on(saved(tmp_path), "ffhq_noise")["data"])
    assert root == "data/ffhq_drawn_32"
    assert draw["train"] > 0


def test_a_name_that_is_no_set_is_told_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no data 'celeba_noize'.*celeba_noise"):
        scored_on(saved(tmp_path), "celeba_noize")


def test_there_are_fragments() -> None:
    assert {"celeba_noise", "ffhq_full"} <= set(fragments())


def test_a_run_is_scored_on_another_set_in_a_folder_of_its_own(
    command: Any, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = "class_path: tests.experiments.tiny.TinyData"
    text = f"data: {{{kind}, init_args: {{gamma: 0.25}}}}\nscales: {{smoke: {{}}}}\n"
    (tmp_path / "dimmer.yaml").write_text(text)
    monkeypatch.setattr(other_data, "FRAGMENTS", tmp_path)
    assert command("fit") == 0
    (run,) = tiny.parent.glob("runs/*")
    own = (run / "results.yaml").read_bytes()
    assert command("test", "--on=dimmer") == 0
    assert (run / "results.yaml").read_bytes() == own
    told = yaml.safe_load((run / "on_dimmer" / "results.yaml").read_text())
    assert (told["data"]["init_args"]["gamma"], told["checkpoint"]) == (0.25, "last.ckpt")
    assert (run / "on_dimmer" / "results.csv").is_file()
