"""metrics.csv: every logged number of a run, one row a step, the same after any interruption."""

import csv
import io
import os
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

Row = dict[str, float]


class CsvMetrics(Logger):
    """Writes `folder`/metrics.csv with a column for each metric that was ever logged.

    Lightning's own CSV logger deletes the rows of an interrupted run when it goes on; this one
    keeps those up to the batch from which it goes on (`forget_after`).

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._path = Path(folder) / "metrics.csv"
        self._rows: list[Row] = []
        self._columns: list[str] = ["step"]
        self._written = 0

    @property
    def name(self) -> str:
        """Empty: the file lies in the run's folder itself."""
        return ""

    @property
    def version(self) -> str:
        """Empty: the file lies in the run's folder itself."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return str(self._path.parent)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any) -> None:
        """Nothing: config.yaml holds the settings."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Adds `metrics` to the row of `step`."""
        values = {name: value for name, value in metrics.items() if name not in ("step", "epoch")}
        if not values:
            return
        if not self._rows or self._rows[-1]["step"] != step:
            self._rows.append({"step": float(step or 0)})
        row = self._rows[-1]
        row.update(values)
        if len(self._rows) <= self._written or not values.keys() <= set(self._columns):
            self._written = -1  # a finished row or the header changed: the file is made anew

    @rank_zero_only
    def save(self) -> None:
        """Brings the file up to date."""
        if self._written == len(self._rows):
            return
        if self._written > 0:
            with self._path.open("a", newline="") as file:
                self._writer(file).writerows(_plain(row) for row in self._rows[self._written :])
        else:
            self._rewrite()
        self._written = len(self._rows)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Brings the file up to date."""
        if self._rows:
            self.save()

    @rank_zero_only
    def forget_after(self, step: int) -> None:
        """Takes up the file of an interrupted run, without the rows after `step`."""
        if not self._path.is_file():
            return
        written = self._path.read_text()
        whole = written[: written.rfind("\n") + 1]  # a kill may have cut the last row short
        rows = [
            {name: float(value) for name, value in row.items() if value}
            for row in csv.DictReader(io.StringIO(whole, newline=""))
        ]
        self._rows = [row for row in rows if row["step"] <= step]
        self._rewrite()
        self._written = len(self._rows)

    def _writer(self, file: Any) -> "csv.DictWriter[str]":
        return csv.DictWriter(file, self._columns)

    def _rewrite(self) -> None:
        names = {name for row in self._rows for name in row} - {"step"}
        self._columns = ["step", *sorted(names)]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        with temporary.open("w", newline="") as file:
            writer = self._writer(file)
            writer.writeheader()
            writer.writerows(_plain(row) for row in self._rows)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)


def _plain(row: Row) -> dict[str, object]:
    return {**row, "step": int(row["step"])}
