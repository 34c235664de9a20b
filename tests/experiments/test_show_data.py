from pathlib import Path

import pytest
from PIL import Image

from experiments import show_data
from experiments.__main__ import main, read_request
from experiments.settings import SettingsError

FRAGMENT = """# Drawn faces.
data:
  class_path: datamodules.folder.Folder
  init_args: {root: ROOT, size: 512}
scales:
  smoke:
    data:
      init_args:
        size: 32
        batch_size: 3
        draw: {train: 8, val: 2, test: 2, size: 32}
        loading: {workers: 0}
"""


@pytest.fixture
def fragment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that holds nothing but data; sheets go to `runs` beside it."""
    monkeypatch.setenv("RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("WANDB_SWEEP_ID", raising=False)
    path = tmp_path / "drawn.yaml"
    path.write_text(FRAGMENT.replace("ROOT", str(tmp_path / "faces")))
    return path


def wanted(name: str, *arguments: str) -> show_data.Wanted:
    return show_data.wanted_of(read_request("show-data", [name, *arguments]))


def test_a_sheet_of_an_experiments_data_is_written_into_its_folder(
    tiny: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["show-data", str(tiny), "--scale=smoke"]) == 0
    path = tiny.parent / "runs" / "tiny_smoke" / "data.png"
    assert capsys.readouterr().out == f"{path}\n"
    with Image.open(path) as sheet:
        assert min(sheet.size) > 256


def test_a_sheet_of_a_file_that_holds_nothing_but_data(
    fragment: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["show-data", str(fragment), "--scale=smoke", "--run=other"]) == 0
    path = fragment.parent / "runs" / "other" / "data.png"
    assert capsys.readouterr().out == f"{path}\n"
    assert path.is_file()


def test_a_finished_runs_data_are_shown_in_its_own_folder(tiny: Path):
    saved = tiny.parent / "old" / "config.yaml"
    saved.parent.mkdir()
    saved.write_text(f"run_dir: {saved.parent}\nseed_everything: 3\nmodel: {{}}\ndata: {{}}\n")
    found = wanted(str(saved))
    assert found.folder == saved.parent
    assert found.settings == {"data": {}, "seed_everything": 3}


def test_only_what_belongs_to_the_data_is_taken_from_an_experiment(tiny: Path):
    found = wanted(str(tiny), "--scale=smoke")
    assert found.name == "tiny"
    assert set(found.settings) == {"data", "seed_everything"}
    assert found.settings["data"]["init_args"] == {"gamma": 0.25, "batch_size": 2}


def test_a_scale_is_laid_on_a_file_of_data(fragment: Path):
    published = wanted(str(fragment)).settings["data"]["init_args"]
    smoke = wanted(str(fragment), "--scale=smoke").settings["data"]["init_args"]
    assert published["size"] == 512
    assert smoke["size"] == 32
    assert smoke["root"] == published["root"]


def test_every_file_of_configs_data_goes_by_its_name():
    assert show_data.fragments()
    for name in show_data.fragments():
        assert wanted(name).name == name


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["retouchformer_gama0.1"], "did you mean 'retouchformer_gamma0.1'?"),
        (["ffhq_ful"], "no experiment or data 'ffhq_ful': did you mean 'ffhq_full'?"),
        (["none.yaml"], "no settings file at none.yaml"),
        (["ffhq_full", "--scale=demos"], "has no scale 'demos': did you mean 'demo'?"),
        ([], "name the experiment first"),
    ],
)
def test_a_wrong_name_is_told_in_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["show-data", *arguments]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_a_file_without_scales_and_one_without_data_say_so(tmp_path: Path):
    (tmp_path / "a.yaml").write_text("data: {class_path: x}\n")
    with pytest.raises(SettingsError, match=r"has no scale 'smoke' \(it has none\)"):
        wanted(str(tmp_path / "a.yaml"), "--scale=smoke")
    (tmp_path / "b.yaml").write_text("model: {}\n")
    with pytest.raises(SettingsError, match="tells of no data"):
        wanted(str(tmp_path / "b.yaml"))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("--data.init_args.sise=3", "no setting 'data.sise': did you mean 'data.size'?"),
        ("--data.init_args.size=big", "data.size must be int, got 'big'"),
        ("--data.init_args.size=2", "size must be 16 or more, got 2"),
        ("--data.class_path=datamodules.folder.Foldr", "no class 'datamodules.folder.Foldr'"),
        ("--data.init_args.draw=null", "there is no folder"),
        ("--model.width=3", "no setting 'model.width'"),
    ],
)
def test_what_is_wrong_with_a_setting_is_told_in_one_line(
    fragment: Path, setting: str, said: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["show-data", str(fragment), "--scale=smoke", setting]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    assert not (fragment.parent / "runs").exists()
