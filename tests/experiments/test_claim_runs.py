import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from experiments import claim_runs, settings, sweep
from experiments.__main__ import main
from experiments.claim_runs import FINISHED, RESUME, START, Job, first_jobs, jobs_of
from experiments.claims import PaperClaims, read_claims
from experiments.settings import ROOT, SettingsError, load_chain
from tests.experiments.made_up import nested, write_run

WIDE = "--model.init_args.width=9"


@pytest.fixture
def runs(runs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of runs; `show` prints the merged files, and what the command line adds."""
    monkeypatch.setattr(claim_runs.subprocess, "run", show)
    return runs


def show(command: list[str], **_: Any) -> SimpleNamespace:
    assert command[:4] == [sys.executable, "-m", "experiments", "show"]
    name, *words = command[4:]
    given = dict(word.removeprefix("--").split("=", 1) for word in words)
    scale = given.pop("scale", None)
    over = {key: yaml.safe_load(value) for key, value in given.items() if key != "run"}
    told = settings.merge(load_chain(name, scale).settings, nested(over))
    return SimpleNamespace(returncode=0, stdout=yaml.safe_dump(told), stderr="")


Started = list[tuple[list[str], str]]


@pytest.fixture
def started(runs: Path, monkeypatch: pytest.MonkeyPatch) -> Started:
    """The runs that were started, each with its folder of runs; those of `plain` fail."""
    found: Started = []

    def run(command: list[str], name: str, environment: dict[str, str]) -> None:
        found.append((command[4:], environment["RUNS"]))
        if "plain" in command:
            raise SettingsError(f"run {name} ended with code 3")
        given = dict(word[2:].split("=", 1) for word in command if "=" in word)
        path = Path(environment["RUNS"]) / given["run"]
        if not path.exists():
            write_run(path, command[4], int(given["seed_everything"]))

    monkeypatch.setattr(claim_runs, "run_to_its_end", run)
    return found


def job(runs: Path, *words: str) -> Job:
    return Job("full", "demo", runs / "a", ("--seed_everything=0", *words))


def test_every_experiment_of_a_claim_is_run_with_every_seed(runs: Path):
    jobs = jobs_of(read_claims()["paper"], "demo", 2, ["--x=1"])
    assert [each.folder.name for each in jobs] == [
        f"{name}_demo_seed{seed}" for seed in (0, 1) for name in ("full", "plain", "other")
    ]
    assert jobs[3].settings == ("--seed_everything=1", "--x=1")
    published = jobs_of(read_claims()["paper"], None, 1, [])
    assert published[0].folder == runs / "full_seed0"


def test_a_run_is_finished_when_it_has_results_of_these_settings(runs: Path):
    assert job(runs).state() == START
    write_run(runs / "a", "full", 0)
    assert job(runs).state() == FINISHED


def test_a_run_without_results_goes_on(runs: Path):
    (write_run(runs / "a", "full", 0) / "results.csv").unlink()
    assert job(runs).state() == RESUME
    assert job(runs).command(RESUME)[-1] == "--resume"
    assert "--resume" not in job(runs).command(START)


def test_a_run_of_which_another_checkpoint_was_scored_is_scored_again(runs: Path):
    folder = write_run(runs / "a", "full", 0)
    scored = "checkpoint: best.ckpt\n" + (folder / "config.yaml").read_text()
    (folder / "results.yaml").write_text(scored)
    assert job(runs).state() == RESUME


@pytest.mark.parametrize(
    ("words", "named"),
    [([WIDE], "model.init_args.width"), (["--seed_everything=4"], "seed_everything")],
)
def test_a_folder_with_other_settings_is_left_alone_and_named(
    runs: Path, words: list[str], named: str
):
    write_run(runs / "a", "full", 0)
    with pytest.raises(SettingsError, match=rf"a run of other settings \({named}\): move it"):
        job(runs, *words).state()


def test_settings_that_are_refused_are_told(runs: Path, monkeypatch: pytest.MonkeyPatch):
    refused = SimpleNamespace(returncode=2, stdout="", stderr="error: no setting 'x'\n")
    monkeypatch.setattr(claim_runs.subprocess, "run", lambda *_, **__: refused)
    write_run(runs / "a", "full", 0)
    with pytest.raises(SettingsError, match=r"^no setting 'x'$"):
        job(runs).state()


def test_a_failed_run_is_named_and_the_rest_go_on(
    runs: Path, started: Started, capsys: pytest.CaptureFixture[str]
):
    assert main(["claims", "--paper=paper", "--scale=demo", "--seeds=1"]) == 4
    assert [words[0] for words, _ in started] == ["full", "plain", "other"]
    assert started[0][1] == str(runs)
    assert "not run: plain_demo_seed0: run plain_demo_seed0 ended" in capsys.readouterr().err
    assert (runs / "report.html").is_file()


def test_what_is_finished_is_not_run_again(runs: Path, started: Started):
    arguments = ["claims", "--paper=paper", "--scale=demo", "--seeds=1"]
    main(arguments)
    started.clear()
    main(arguments)
    assert [words[0] for words, _ in started] == ["plain"]


def test_a_dry_run_only_tells_the_commands(
    runs: Path, started: Started, capsys: pytest.CaptureFixture[str]
):
    assert main(["claims", "--paper=paper", "--scale=demo", "--dry-run", WIDE]) == 0
    told = capsys.readouterr().out
    assert "[1 of 9] full_demo_seed0: would start\n" in told
    assert f"--run=other_demo_seed2 --seed_everything=2 {WIDE}\n" in told
    assert started == []
    assert not runs.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--paper=papers"], "no claims of a paper 'papers': did you mean 'paper'?"),
        (["--paper=paper", "--seeds=0"], "--seeds must be at least 1, got 0"),
        (["--paper=paper", "--run=mine"], "--run=mine would be the same for all runs"),
        (["--paper=paper", "--seed_everything=3"], "would be the same for all runs"),
        (["--paper=paper", "width"], "'width' is no setting"),
        (["--paper=paper", "--scale=dem"], "no scale 'dem'"),
        ([], "--paper"),
    ],
)
def test_what_is_wrong_is_told_before_anything_runs(
    runs: Path,
    started: Started,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
):
    assert main(["claims", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert started == []


@pytest.fixture
def standing_on(runs: Path) -> Callable[[], list[Job]]:
    """`plain` starts from a checkpoint of `other`; the runs that have to be made before."""
    place = runs.parent / "made" / "other_demo" / "checkpoints" / "last.ckpt"
    (settings.EXPERIMENTS / "plain.yaml").write_text(
        f"bases: [../paper.yaml]\nmodel: {{init_args: {{pretrained: {place}}}}}\n"
    )
    told = read_claims()["paper"]
    extra = ["--root=data/mine", "--trainer.devices=1", "--model.init_args.width=9"]
    return lambda: first_jobs(PaperClaims(told.claims, ("other",)), "demo", extra)


def test_what_others_start_from_is_trained_first_and_where_they_look(
    runs: Path, standing_on: Callable[[], list[Job]]
):
    (first,) = standing_on()
    assert (first.experiment, first.scale) == ("other", "demo")
    assert first.folder == runs.parent / "made" / "other_demo"
    assert first.settings == ("--root=data/mine", "--trainer.devices=1")
    assert first.environment == {"RUNS": str(runs.parent / "made")}


def test_what_is_there_is_not_trained_first_but_what_was_interrupted_is(
    runs: Path, standing_on: Callable[[], list[Job]]
):
    checkpoint = runs.parent / "made" / "other_demo" / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    assert standing_on() == []
    (checkpoint.parents[1] / "config.yaml").touch()
    assert len(standing_on()) == 1
    (checkpoint.parents[1] / "results.csv").touch()
    assert standing_on() == []


@pytest.mark.parametrize(
    ("paper", "scale", "first"),
    [
        ("inversion", "demo", ["embedder_demo_demo", "inversion_judge_demo"]),
        ("inversion", "smoke", []),
        ("nasfe", "demo", []),
        ("crn", None, []),
        (
            "nasfe",
            None,
            [
                *(f"nasfe_encoder_{task}" for task in ("blur", "noise", "lowlight")),
                "nasfe_classifier",
            ],
        ),
    ],
)
def test_the_shipped_papers_say_what_they_start_from(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    paper: str,
    scale: str | None,
    first: list[str],
):
    monkeypatch.chdir(tmp_path)  # where no run is
    jobs = first_jobs(read_claims()[paper], scale, [])
    assert [each.folder.name for each in jobs] == first


def test_a_run_is_started_as_a_sweep_starts_its_own():
    assert claim_runs.run_to_its_end is sweep.run_to_its_end


def test_the_front_knows_the_command():
    command = [sys.executable, "-m", "experiments", "claims", "-h"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "--dry-run" in told
