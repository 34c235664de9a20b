import itertools
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import kills
from benchmarks.kills import Kills, killed_at, killed_at_random, verdict

ENDS_WELL = "pass"
ENDS_BADLY = "raise SystemExit(3)"
DIES = f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})"
HANGS = "import time; time.sleep(60)"
TORCH_FREE = [sys.executable, "-I", "-S", "-c"]  # starts in 10 ms

Trainings = Callable[..., Path]


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Trainings:
    """Puts programs in the place of trainings, one after the other, the last for ever."""

    def told(*programs: str, held: int = 4, ending: str = "whole") -> Path:
        order = itertools.chain(programs, itertools.repeat(programs[-1]))

        def start(*_: object) -> subprocess.Popen[bytes]:
            for name in ("random_0", "random_1"):
                (tmp_path / name).mkdir(exist_ok=True)
            return subprocess.Popen([*TORCH_FREE, next(order)], start_new_session=True)

        monkeypatch.setattr(kills, "start", start)
        monkeypatch.setattr(kills, "held", lambda _: held)
        monkeypatch.setattr(
            kills, "outcome", lambda run: "whole" if run.name.startswith("whole") else ending
        )
        monkeypatch.setattr(kills, "PATIENCE", 1)
        return tmp_path

    return told


def word(runs: Path) -> str:
    return verdict(lambda: killed_at(4, 0, 1, runs))


def test_a_killed_run_that_ends_like_the_whole_one_is_the_same(trainings: Trainings) -> None:
    assert word(trainings(DIES, ENDS_WELL)) == "same"
    assert word(trainings(DIES, ENDS_WELL, ending="another")) == "DIFFERS"


@pytest.mark.parametrize(
    ("programs", "held", "reason"),
    [
        ((ENDS_WELL, ENDS_WELL), 4, "the run to be killed ended with exit code 0"),
        ((ENDS_BADLY, ENDS_WELL), 4, "the run to be killed ended with exit code 3"),
        ((HANGS, ENDS_WELL), 4, "a run did not end within 1 s"),
        ((DIES, ENDS_WELL), 5, "after the kill at batch 4 its checkpoint holds 5"),
        ((DIES, ENDS_BADLY), 4, "a run that nobody killed ended with exit code 3"),
    ],
)
def test_what_is_no_kill_or_no_good_end_is_a_failure(
    trainings: Trainings, programs: tuple[str, str], held: int, reason: str
) -> None:
    assert word(trainings(*programs, held=held)) == f"FAILED: {reason}"


def test_a_whole_run_that_fails_is_told_in_its_row(trainings: Trainings) -> None:
    row, _ = kills.whole(2, trainings(ENDS_BADLY))
    assert row == "| never | 0 | 2 | FAILED: a run that nobody killed ended with exit code 3 |"


def test_random_kills_go_on_until_enough_have_hit_a_living_run(trainings: Trainings) -> None:
    runs = trainings(HANGS, ENDS_WELL, HANGS, HANGS, ENDS_WELL, ending="whole")
    assert killed_at_random(0, 3, 0.5, runs) == Kills(hits=3, training=0, ends=2)
    assert [path.name for path in runs.iterdir()] == ["random_1"]  # of the other lane


@pytest.mark.parametrize(
    ("program", "ending", "reason"),
    [
        (ENDS_BADLY, "whole", "ended with exit code 3 before its kill"),
        (ENDS_WELL, "another", "a run DIFFERS from the whole one"),
        (ENDS_WELL, "whole", "only 0 of 25 kills hit within 1 s"),
    ],
)
def test_random_kills_that_prove_nothing_are_a_failure(
    trainings: Trainings, monkeypatch: pytest.MonkeyPatch, program: str, ending: str, reason: str
) -> None:
    monkeypatch.setattr(kills, "RANDOM_PATIENCE", 1)
    told = kills.random_kills(0.5, trainings(program, ending=ending))
    assert told.startswith("Killed at random moments: FAILED: ")
    assert reason in told


def test_random_kills_are_reported_with_their_numbers(
    trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lane(number: int, *_: object) -> Kills:
        return Kills(25, 10 + number, 2)

    trainings(ENDS_WELL)
    monkeypatch.setattr(kills, "killed_at_random", lane)
    told = kills.random_kills(0.5, Path())
    assert "50 kills hit living runs, 21 of them" in told
    assert "all 4 runs that came to their end: same" in told
