"""Tables: rows of results, as text on the terminal, as Markdown and as CSV."""

import csv
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

Row = dict[str, Any]

PAPER = " (paper)"
COLUMNS = ("experiment", "scale", "method", "n")
COMPARABLE = "comparable"  # the last column: whether a row may be held against the paper's
SMALL = ("demo", "smoke")
NO_LPIPS = "lpips: empty, because its weights were not given (--model.init_args.measures.lpips)."
IDENTITY = "identity: the input, untouched, taken for the output."
ONE_DOES_NOT_COMPARE = (
    "Scales demo and smoke: other data, size and length than the paper's; not comparable with it."
)


@dataclass(frozen=True)
class Tag:
    """Which run a table is of, and what speaks against comparing it with a paper's."""

    experiment: str
    scale: str
    caveat: str = ""

    @property
    def comparable(self) -> str:
        """`yes`, or `no` where something speaks against it."""
        return "no" if self.caveat or self.scale in SMALL else "yes"


def rows_of(results: Sequence[Row], tag: Tag) -> list[Row]:
    """A table's rows, each told whose it is; beside PSNR always `lpips`, empty without weights."""
    head = {"experiment": tag.experiment, "scale": tag.scale}
    return [
        head
        | dict(row)
        | {"n": int(row["n"])}
        | ({"lpips": row.get("lpips")} if "psnr" in row else {})
        | {COMPARABLE: tag.comparable}
        for row in results
    ]


def columns_of(rows: Iterable[Row]) -> list[str]:
    """All the rows' columns: whose they are, then each metric before its paper's number."""
    found = dict.fromkeys(name for row in rows for name in row if name not in COLUMNS)
    metrics = [name for name in found if not name.endswith(PAPER) and name != COMPARABLE]
    pairs = [(name, name + PAPER) for name in metrics]
    last = [COMPARABLE] if COMPARABLE in found else []
    return [*COLUMNS, *(name for pair in pairs for name in pair if name in found), *last]


def worded(value: Any) -> str:
    """A cell: four significant digits or two decimals, empty for what was not measured."""
    if value is None or value == "":
        return ""
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"
    return str(value)


def notes_of(rows: Sequence[Row], definitions: str) -> list[str]:
    """The lines under a table: what the metrics are, and what may not be compared."""
    notes = [definitions]
    if any(row.get("method") == "identity" for row in rows):
        notes.append(IDENTITY)
    if any("lpips" in row and row["lpips"] is None for row in rows):
        notes.append(NO_LPIPS)
    if any(row.get("scale") in SMALL for row in rows):
        notes.append(ONE_DOES_NOT_COMPARE)
    return notes


def markdown(rows: Sequence[Row], columns: Sequence[str], notes: Sequence[str]) -> str:
    """A table in Markdown with its notes under it."""
    lines = [columns, ["---"] * len(columns)]
    lines += [[_inline(worded(row.get(column))) for column in columns] for row in rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
    return table + "".join(f"{'' if i else chr(10)}- {note}\n" for i, note in enumerate(notes))


def _inline(text: str) -> str:
    return text.replace("|", "\\|")  # which would end a cell


def show_table(rows: Sequence[Row], columns: Sequence[str], notes: Sequence[str]) -> None:
    """Prints a table and its notes."""
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(worded(row.get(column)) for column in columns))
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    for note in notes:
        console.print(note, style="dim", highlight=False)


def write_table(rows: Sequence[Row], folder: Path, definitions: str) -> None:
    """Prints a run's table and writes it as results.csv and results.md.

    Args:
        rows: of `rows_of`.
        folder: the run's.
        definitions: what the metrics are, in a sentence or two.

    Raises:
        OSError: if the files cannot be written.
    """
    columns, notes = columns_of(rows), notes_of(rows, definitions)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    (folder / "results.md").write_text(markdown(rows, columns, notes), encoding="utf-8")
    show_table(rows, columns[1:], notes)


def read_rows(path: Path) -> list[Row]:
    """The rows of a results.csv, numbers as floats, empty cells as None.

    Raises:
        OSError: if the file cannot be read.
    """
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {name: _cell(name, text) for name, text in row.items()} for row in csv.DictReader(file)
        ]


def _cell(name: str, text: str) -> Any:
    if name in (*COLUMNS, COMPARABLE):
        return text
    return float(text) if text else None


def show_metrics(metrics: dict[str, float]) -> None:
    """Prints metrics by name, one a line."""
    console = Console()
    for name, value in sorted(metrics.items()):
        console.print(f"{name:32} {worded(value)}", highlight=False)


def show_places(folder: Path, scored: str | None = None) -> None:
    """Prints where a run's pictures, metrics, checkpoint and settings lie.

    Args:
        folder: the run's folder.
        scored: the checkpoint that was scored, if not the last one.
    """
    places = {
        "pictures": ["pictures", "predictions"],
        "metrics": ["metrics.csv", "results.csv", "results.md"],
        "checkpoint": ["checkpoints/last.ckpt"],
        "settings": ["config.yaml", "environment.json"],
    }
    console = Console()
    for name, files in places.items():
        there = [str(folder / file) for file in files if (folder / file).exists()]
        if there:
            console.print(f"{name:11} {'  '.join(there)}", soft_wrap=True, highlight=False)
    if scored is not None and Path(scored) != folder / "checkpoints" / "last.ckpt":
        console.print(f"scored      {scored}", soft_wrap=True, highlight=False)


def beside_the_paper(row: Row, expected: dict[str, Any]) -> Row:
    """A run's row with the paper's number after each metric that the paper printed."""
    printed = {
        name.removeprefix("test/"): value for name, value in expected.items() if name != "source"
    }
    beside: Row = {}
    for name, value in row.items():
        beside[name] = value
        if name in printed:
            beside[name + PAPER] = printed[name]
    return beside | {"source": expected.get("source")}
