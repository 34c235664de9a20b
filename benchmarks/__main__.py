"""`python -m benchmarks [name ...]`: run benchmarks/bench_<name>.py and write their tables."""

import argparse
import dataclasses
import importlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from benchmarks.timing import ENVIRONMENTS, ROOT, Row, as_row, environment, own_peak

HERE = Path(__file__).parent
MARK = "rows: "


def names() -> list[str]:
    """The benchmarks of this folder."""
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def hardware() -> dict[str, str | int]:
    """What the figures depend on."""
    import torch

    cpu = platform.processor() or "unknown"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        models = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        cpu = models[0].split(":")[1].strip() if models else cpu
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "cpu": cpu,
        "cores": os.cpu_count() or 1,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": commit.stdout.strip() or "unknown",
    }


def rows_in(name: str, settings: str) -> list[Row]:
    """The rows of benchmark `name`, run in a fresh process under the environment `settings`."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--rows", name],
        cwd=ROOT,
        env=environment(settings),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"benchmark {name} failed in the {settings} environment")
    found = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    return [as_row(row) for row in json.loads(found[-1].removeprefix(MARK))]


def print_rows(name: str) -> None:
    """Runs benchmark `name` here, on one thread, and prints its rows for the parent to read."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = [as_row(row) for row in importlib.import_module(f"benchmarks.bench_{name}").run()]
    print(MARK + json.dumps([dataclasses.asdict(row) for row in rows]))


def table(rows: list[Row]) -> str:
    """A Markdown table of the rows."""
    extras = list(dict.fromkeys(key for row in rows for key in row.extras))
    head = ["case", "median ms", "spread ms", "times faster", "than", "extra peak MiB", *extras]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in rows:
        cells = [
            row.name,
            f"{row.median_s * 1e3:.4g}",
            "" if row.spread_s is None else f"{row.spread_s * 1e3:.2g}",
            "" if row.ratio is None else f"{row.ratio:.2f}",
            row.baseline or "",
            "" if row.peak_mib is None else f"{row.peak_mib:.1f}",
            *(str(row.extras.get(key, "")) for key in extras),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def measure(name: str) -> None:
    """Runs benchmark `name` in each environment, prints its tables and writes them to results/."""
    machine = hardware()
    found = {settings: rows_in(name, settings) for settings in ENVIRONMENTS}
    text = [
        f"# {name}",
        "",
        "Medians of interleaved rounds; process CPU time on one thread where a row says nothing "
        "else; peaks from fresh processes.",
        ", ".join(f"{key} {value}" for key, value in machine.items()),
    ]
    for settings, rows in found.items():
        text += ["", f"## {settings} environment", "", table(rows)]
    report = "\n".join(text) + "\n"
    print(report, flush=True)
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / f"{name}.md").write_text(report)
    content = {
        "machine": machine,
        "settings": ENVIRONMENTS,
        "rows": {key: [dataclasses.asdict(row) for row in rows] for key, rows in found.items()},
    }
    (results / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def main() -> None:
    """The command line; the two options are how the runner calls itself in fresh processes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help="benchmarks to run (default: all), or kills")
    parser.add_argument("--rows", metavar="NAME", help=argparse.SUPPRESS)
    parser.add_argument("--peak", nargs=2, metavar=("MODULE", "CASE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        import torch

        torch.set_num_threads(1)
        print(json.dumps(own_peak(*arguments.peak)))
    elif arguments.names == ["kills"]:
        importlib.import_module("benchmarks.kills").main()
    elif arguments.rows:
        print_rows(arguments.rows)
    else:
        if strange := set(arguments.names) - set(names()):
            parser.error(f"no benchmark {', '.join(sorted(strange))}; there are {names()}")
        for name in arguments.names or names():
            measure(name)


if __name__ == "__main__":
    main()
