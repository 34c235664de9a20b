from pathlib import Path

import pytest

from experiments import settings
from experiments.settings import SettingsError, load_chain, merge, nearest, run_folder, start_from


def test_a_later_file_changes_a_key_and_keeps_its_neighbours():
    assert merge({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}) == {"a": {"b": 1, "c": 3}}


def test_a_list_is_replaced_and_not_appended_to():
    assert merge({"a": [1, 2]}, {"a": [3]}) == {"a": [3]}


def test_merging_leaves_its_inputs_alone():
    base = {"a": {"b": 1}}
    merge(base, {"a": {"b": 2}})
    assert base == {"a": {"b": 1}}


def test_another_class_drops_the_arguments_of_the_old_one():
    old = {"net": {"class_path": "x.A", "init_args": {"width": 3}}}
    new = merge(old, {"net": {"class_path": "x.B", "init_args": {"depth": 1}}})
    assert new == {"net": {"class_path": "x.B", "init_args": {"depth": 1}}}


def test_the_same_class_keeps_its_arguments():
    old = {"net": {"class_path": "x.A", "init_args": {"width": 3}}}
    assert merge(old, {"net": {"class_path": "x.A"}}) == old


def test_the_chain_goes_from_default_to_paper_to_experiment_to_scale(tiny: Path):
    published, smoke = load_chain(str(tiny)), load_chain(str(tiny), "smoke")
    assert published.settings["trainer"]["num_sanity_val_steps"] == 0  # from configs/default.yaml
    assert published.settings["max_batches"] == 6  # from the paper
    assert published.settings["data"]["init_args"] == {"gamma": 0.5, "batch_size": 2}
    assert smoke.settings["max_batches"] == 2  # from configs/scales/smoke.yaml
    assert smoke.settings["data"]["init_args"]["gamma"] == 0.25  # from the paper's own scales


def test_what_a_file_says_about_itself_is_no_setting(tiny: Path):
    base = tiny.parent / "paper.yaml"
    base.write_text(f"paper: A Paper\n{base.read_text()}")
    merged = load_chain(str(tiny), "smoke")
    assert not {"bases", "expected", "paper", "scales"} & merged.settings.keys()
    assert merged.expected == {"test/psnr": 30.0, "source": "Table 0"}


def test_a_file_without_bases_runs_as_it_is(tmp_path: Path):
    saved = tmp_path / "my_run" / "config.yaml"
    saved.parent.mkdir()
    saved.write_text("max_batches: 3\n")
    merged = load_chain(str(saved))
    assert merged.settings == {"max_batches": 3}
    assert merged.saved
    with pytest.raises(SettingsError, match="cannot take a scale"):
        load_chain(str(saved), "demo")


def test_a_chain_deeper_than_three_files_is_refused(tiny: Path):
    (tiny.parent / "paper.yaml").write_text("bases: [other.yaml]\n")
    with pytest.raises(SettingsError, match="`bases` of its own"):
        load_chain(str(tiny))


def test_a_setting_may_come_from_the_environment(tiny: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FACES_AT", "/somewhere")
    tiny.write_text("bases: [paper.yaml]\ndata: {init_args: {root: '${oc.env:FACES_AT}'}}\n")
    assert load_chain(str(tiny)).settings["data"]["init_args"]["root"] == "/somewhere"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: [1", "cannot be read as YAML"),
        ("- 1\n- 2\n", "must hold `key: value` settings, got a list"),
        ("a: ${oc.env:NOT_SET_ANYWHERE}\n", "NOT_SET_ANYWHERE"),
    ],
)
def test_a_broken_file_is_named_in_one_line(tmp_path: Path, content: str, said: str):
    path = tmp_path / "broken.yaml"
    path.write_text(content)
    with pytest.raises(SettingsError, match=said) as caught:
        load_chain(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_paper_is_named(tiny: Path):
    (tiny.parent / "paper.yaml").unlink()
    with pytest.raises(SettingsError, match=r"no settings file at .*paper\.yaml"):
        load_chain(str(tiny))


def test_a_misspelled_experiment_or_scale_is_told_the_nearest(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(settings, "EXPERIMENTS", tiny.parent)
    with pytest.raises(SettingsError, match="no experiment 'tinny': did you mean 'tiny'"):
        load_chain("tinny")
    with pytest.raises(SettingsError, match="no scale 'smok': did you mean 'smoke'"):
        load_chain("tiny", "smok")


def test_an_experiment_is_described_by_its_first_comment(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(settings, "EXPERIMENTS", tiny.parent)
    comment, expected = settings.describe("tiny")
    assert comment == "A tiny run, for the tests."
    assert expected["source"] == "Table 0"


def test_an_experiment_belongs_to_the_paper_that_its_files_name(tmp_path: Path):
    (tmp_path / "one.yaml").write_text("paper: One\n")
    (tmp_path / "data.yaml").write_text("max_batches: 3\n")
    (tmp_path / "two.yaml").write_text("paper: Two\n")
    experiment = tmp_path / "x.yaml"
    experiment.write_text("bases: [one.yaml, data.yaml]\n")
    assert settings.paper_of(str(experiment)) == "One"
    experiment.write_text("bases: [data.yaml]\n")
    assert settings.paper_of(str(experiment)) == ""
    experiment.write_text("bases: [one.yaml, two.yaml]\n")
    with pytest.raises(SettingsError, match=r"several papers: \['One', 'Two'\]"):
        settings.paper_of(str(experiment))


def test_nothing_near_gives_no_hint():
    assert nearest("zzz", ["gamma", "width"]) == ""
    assert nearest("gama", ["gamma", "width"]) == ": did you mean 'gamma'?"


def test_runs_of_a_sweep_do_not_share_a_folder(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RUNS", "here")
    monkeypatch.setenv("WANDB_RUN_ID", "abc")
    assert run_folder("x_gamma0.1", "demo") == Path("here/x_gamma0.1_demo")
    monkeypatch.setenv("WANDB_SWEEP_ID", "s")
    assert run_folder("x_gamma0.1", None) == Path("here/x_gamma0.1/abc")


@pytest.mark.parametrize(("scale", "prior"), [(None, ""), ("demo", "_demo")])
def test_the_frozen_prior_comes_from_the_folder_of_runs(
    monkeypatch: pytest.MonkeyPatch, scale: str | None, prior: str
):
    monkeypatch.setenv("RUNS", "elsewhere")
    chain = load_chain("retouchformer_gamma0.1_frozen_prior", scale)
    weights = chain.settings["model"]["init_args"]["network"]["init_args"]["prior"]["init_args"]
    path = f"retouchformer_prior{prior}/checkpoints/last.ckpt"
    assert weights["weights"] == f"elsewhere/{path}"
    monkeypatch.delenv("RUNS")
    chain = load_chain("retouchformer_gamma0.1_frozen_prior", scale)
    weights = chain.settings["model"]["init_args"]["network"]["init_args"]["prior"]["init_args"]
    assert weights["weights"] == f"runs/{path}"


def test_a_used_folder_is_refused_unless_the_run_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert start_from(tmp_path, resume=True) is None
    assert "starting with the first batch" in capsys.readouterr().err
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(SettingsError, match=r"RESUME=1 .*RUN=<other name>"):
        start_from(tmp_path, resume=False)
    monkeypatch.setenv("LOCAL_RANK", "1")  # the first process may have written it just now
    assert start_from(tmp_path, resume=False) is None


def test_a_resumed_run_starts_from_its_last_checkpoint(tmp_path: Path):
    last = tmp_path / "checkpoints" / "last.ckpt"
    last.parent.mkdir()
    last.write_text("")
    assert start_from(tmp_path, resume=True) == str(last)
    assert settings.trained(tmp_path, "last") == str(last)
    assert settings.trained(tmp_path / "other", str(tmp_path)) == str(last)
    with pytest.raises(SettingsError, match=r"no checkpoint at .*best\.ckpt"):
        settings.trained(tmp_path, "best")
