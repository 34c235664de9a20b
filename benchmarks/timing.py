"""Time and memory of a piece of work, measured so that a busy machine disturbs little.

Time is the process's CPU time on one thread; the cases of a benchmark take turns, so that what
slows one down slows all. Memory is the peak of a fresh process over what it held before the call.
"""

import gc
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

Work = Callable[[], object]
ROOT = Path(__file__).resolve().parents[1]
# The settings have to be there before Python starts, hence the fresh processes.
TUNED = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "268435456",
    "GOMP_SPINCOUNT": "10000",
}
ENVIRONMENTS: dict[str, dict[str, str]] = {"default": {}, "tuned": TUNED}


@dataclass(frozen=True)
class Row:
    """One line of a benchmark's table.

    Attributes:
        name: what was measured.
        median_s: median of its times, in seconds.
        spread_s: distance between the quartiles of its times, in seconds.
        peak_mib: extra memory at its peak.
        ratio: the baseline's median over this one: how many times faster.
        baseline: name of the row that `ratio` compares with.
        extras: further columns.
    """

    name: str
    median_s: float
    spread_s: float | None = None
    peak_mib: float | None = None
    ratio: float | None = None
    baseline: str | None = None
    extras: dict[str, object] = field(default_factory=dict)


def as_row(row: Row | Mapping[str, object]) -> Row:
    """A `Row` of what a benchmark gave; keys that a row does not know become `extras`.

    Raises:
        ValueError: if a mapping lacks `name` or `median_s`.
    """
    if isinstance(row, Row):
        return row
    if missing := {"name", "median_s"} - row.keys():
        raise ValueError(f"a row needs name and median_s, {sorted(missing)} missing in {dict(row)}")
    known = {f.name for f in fields(Row)}
    extras = {key: value for key, value in row.items() if key not in known}
    given = {key: value for key, value in row.items() if key in known}
    given["extras"] = {**cast("dict[str, object]", row.get("extras", {})), **extras}
    return Row(**cast("dict[str, Any]", given))


def interleaved(
    cases: Mapping[str, Work], rounds: int, clock: Callable[[], float] = time.process_time
) -> dict[str, list[float]]:
    """The seconds of each case in each round, all cases taking turns after a round to warm up.

    Raises:
        ValueError: if `rounds` is below 1.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(rounds + 1):
        for name, work in cases.items():
            gc.collect()
            start = clock()
            work()
            taken = clock() - start
            if turn:
                seconds[name].append(taken)
    return seconds


def summary(name: str, seconds: list[float]) -> Row:
    """The row of one case: its median and the distance between its quartiles."""
    median = statistics.median(seconds)
    if len(seconds) < 2:
        return Row(name, median)
    low, _, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return Row(name, median, high - low)


def compare(
    module: str, cases: Mapping[str, Work], rounds: int, baseline: str, memory: bool = True
) -> list[Row]:
    """A row for each case, against the case `baseline`, with peaks from fresh processes.

    Args:
        module: import name of the benchmark, whose `cases()` the fresh processes call.
        cases: what `cases()` gave here.
        rounds: of the timing.
        baseline: the case that the others are compared with.
        memory: whether to measure the peaks.

    Raises:
        ValueError: if `baseline` is no case.
    """
    if baseline not in cases:
        raise ValueError(f"the baseline must be one of {sorted(cases)}, got {baseline}")
    rows = {name: summary(name, times) for name, times in interleaved(cases, rounds).items()}
    return [
        Row(
            name,
            row.median_s,
            row.spread_s,
            peak_in_fresh_process(module, name) if memory else None,
            rows[baseline].median_s / row.median_s,
            baseline,
        )
        for name, row in rows.items()
    ]


def peak_in_fresh_process(module: str, case: str) -> float:
    """Extra MiB at the peak of `cases()[case]()` of `module`, in this environment.

    Raises:
        RuntimeError: if the process fails.
    """
    command = [sys.executable, "-m", "benchmarks", "--peak", module, case]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"measuring {module} {case} failed:\n{done.stderr}")
    return float(json.loads(done.stdout.splitlines()[-1]))


def own_peak(module: str, case: str) -> float:
    """Extra MiB at the peak of one call, in this process; Linux only.

    The case runs once in small before, which loads the code of its kernels.

    Raises:
        FileNotFoundError: if the system has no /proc.
    """
    cases = importlib.import_module(module).cases
    cases(small=True)[case]()
    work = cases()[case]
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = _status_mib("VmRSS")
    work()
    return _status_mib("VmHWM") - before


def _status_mib(key: str) -> float:
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(key))
    return int(line.split()[1]) / 1024


def environment(name: str) -> dict[str, str]:
    """This process's environment with the settings called `name` and no others of that kind.

    Raises:
        ValueError: if there is no such environment.
    """
    if name not in ENVIRONMENTS:
        raise ValueError(f"environment must be one of {sorted(ENVIRONMENTS)}, got {name}")
    kept = {key: value for key, value in os.environ.items() if key not in TUNED}
    return kept | ENVIRONMENTS[name]
