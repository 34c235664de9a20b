"""Every experiment file, run for two steps; what it gives must be what it gave before."""

import csv
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from experiments.__main__ import main
from experiments.settings import ROOT, load_chain, names
from lightning_modules.checkpoints import read_checkpoint

GOLDEN = ROOT / "tests" / "golden"
NAMES = names()
REWRITE = "VISAGIST_WRITE_GOLDEN" in os.environ  # to be set by hand when a change is meant


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of drawn faces, with one for each kind of data set."""
    return tmp_path_factory.mktemp("data")


def roots_of(name: str, drawn: Path) -> list[str]:
    """The settings that have all runs on equal data sets share what is drawn."""
    data = load_chain(name, "smoke").settings["data"]
    if "root" in data["init_args"]:
        return [f"--data.init_args.root={drawn / folder_of(data)}"]
    return [  # one set to train on, another to test on
        f"--data.init_args.{side}.init_args.root={drawn / folder_of(each)}"
        for side, each in data["init_args"].items()
        if isinstance(each, dict)
    ]


def folder_of(data: dict) -> str:
    """A name for all sets of one class that are drawn alike."""
    draw = data["init_args"].get("draw") or {}
    return "_".join([data["class_path"], *(f"{key}{value}" for key, value in draw.items())])


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNS", str(tmp_path))
    for name in ("RESUME", "LOCAL_RANK", "WANDB_SWEEP_ID", "WANDB_RUN_ID", "PL_GLOBAL_SEED"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def numbers(run: Path) -> list[dict[str, float]]:
    with (run / "metrics.csv").open(newline="") as file:
        return [
            {name: float(value) for name, value in row.items() if value}
            for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize("name", NAMES)
def test_the_first_losses_are_what_they_were(name: str, runs: Path, drawn: Path) -> None:
    assert main(["fit", name, "--scale=smoke", *roots_of(name, drawn)]) == 0
    found = numbers(runs / f"{name}_smoke")
    path = GOLDEN / f"{name}.json"
    if REWRITE:
        path.write_text(json.dumps(found, indent=1) + "\n")
    expected = json.loads(path.read_text())
    # After a step of Adam another processor's rounding shows sooner than before it.
    for row, wanted, precision in zip(found, expected, (1e-5, 1e-3), strict=True):
        assert row == pytest.approx(wanted, rel=precision, abs=1e-7, nan_ok=True)


@pytest.mark.parametrize("name", ["retouchformer_gamma0.1", "crn_mt", "ispl_sr16_unet"])
def test_bf16_trains_with_finite_losses(name: str, runs: Path, drawn: Path) -> None:
    arguments = ["--trainer.precision=bf16-mixed", *roots_of(name, drawn)]
    assert main(["fit", name, "--scale=smoke", *arguments]) == 0
    for row in numbers(runs / f"{name}_smoke"):
        assert all(math.isfinite(value) for value in row.values())
        assert row["train/skipped"] == 0


def test_a_set_without_test_photographs_is_refused_before_training(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [f"--data.init_args.root={tmp_path / 'faces'}", "--data.init_args.draw.test=0"]
    assert main(["fit", "retouchformer_gamma0.1", "--scale=smoke", *arguments]) == 2
    assert "the set holds no photograph for test" in capsys.readouterr().err
    assert not (runs / "retouchformer_gamma0.1_smoke" / "metrics.csv").exists()


@pytest.mark.parametrize(
    "name",
    [
        *(name for name in NAMES if name.startswith("embedder_")),
        *("crn_mt", "vdsr_mt", "perception_mt", "ispl_sr16_unet", "ispl_sr16_hifacegan"),
    ],
)
def test_settings_of_the_demo_scale_are_accepted(name: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["show", name, "--scale=demo"])
    assert ended.value.code == 0


def test_every_golden_file_has_its_experiment() -> None:
    tables = {path.stem for path in GOLDEN.glob("*.json")} - {"drawn_faces"}
    assert tables == set(NAMES)


def fit(name: str, roots: list[str], *arguments: str) -> list[str]:
    settings = ["--scale=smoke", "--max_batches=10", "--checkpoint_every=1", "--evaluate=false"]
    return [sys.executable, "-m", "experiments", "fit", name, *settings, *roots, *arguments]


def go(command: list[str], runs: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "RUNS": str(runs), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)


def held(run: Path) -> int:
    last = run / "checkpoints" / "last.ckpt"
    return read_checkpoint(last)["visagist"]["batches_done"] if last.exists() else 0


def killed_after_a_batch(process: subprocess.Popen[bytes], run: Path, delay: float) -> int:
    """Kills a training `delay` seconds after its first save; its exit code."""
    before, deadline = held(run), time.monotonic() + 60
    while process.poll() is None and held(run) == before and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    return process.wait()


def weights(run: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]


@pytest.mark.parametrize("name", ["retouchformer_gamma0.1", "crn_mt"])
def test_a_run_killed_at_random_moments_ends_like_one_that_was_not(
    name: str, runs: Path, drawn: Path
) -> None:
    roots = roots_of(name, drawn)
    assert go(fit(name, roots, "--run=whole"), runs).wait() == 0
    draw = random.Random(0)
    kills = []
    for _ in range(2):
        process = go(fit(name, roots, "--run=killed", "--resume"), runs)
        code = killed_after_a_batch(process, runs / "killed", draw.uniform(0, 0.3))
        kills.append((code, held(runs / "killed")))
    in_mid_run = [held for code, held in kills if code == -signal.SIGKILL and 0 < held < 10]
    assert in_mid_run, kills
    assert go(fit(name, roots, "--run=killed", "--resume"), runs).wait() == 0
    whole, killed = weights(runs / "whole"), weights(runs / "killed")
    assert whole.keys() == killed.keys()
    assert [name for name in whole if not torch.equal(whole[name], killed[name])] == []
    assert numbers(runs / "whole") == numbers(runs / "killed")
