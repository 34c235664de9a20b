"""How long an index of 100,000 pictures takes to make, to check, and to open; wall seconds.

The pictures are links to one small PNG per folder of a thousand, below a temporary folder; the
memory is what opening adds to the process beyond pages of the file.
"""

import os
import pickle
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.timing import Row, interleaved, summary
from datamodules.index import INDEX, list_index, make_index, open_index

FOLDERS, EACH = 100, 1000
ROUNDS = 5


def run() -> list[Row]:
    """The first look once, the rest in rounds, each with the files a second that it comes to."""
    with tempfile.TemporaryDirectory(prefix="visagist_index_") as folder:
        root = Path(folder)
        _write(root)
        start = time.perf_counter()
        make_index(root)
        first = time.perf_counter() - start
        cases = {
            "list, nothing known": lambda: list_index(root),
            "make_index, nothing changed": lambda: make_index(root),
            "open_index": lambda: open_index(root),
        }
        times = interleaved(cases, ROUNDS, time.perf_counter)
        rows = [summary("make_index, a look at each header", [first])]
        rows += [summary(name, seconds) for name, seconds in times.items()]
        for row in rows[:-1]:
            row.extras["files per second"] = f"{FOLDERS * EACH / row.median_s:.3g}"
        rows[-1].extras.update(_weight(root))
    return rows


def _write(root: Path) -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    for folder in range(FOLDERS):
        (root / f"{folder:05d}").mkdir()
        first = root / f"{folder:05d}" / "00000.png"
        Image.fromarray(pixels).save(first)  # a folder's own: links to one file are limited
        for number in range(1, EACH):
            os.link(first, root / f"{folder:05d}" / f"{number:05d}.png")


def _weight(root: Path) -> dict[str, object]:
    before = _anonymous_kib()
    files = open_index(root)
    files.name(len(files) - 1)
    files.below("00050")
    return {
        "private KiB": _anonymous_kib() - before,
        "file MiB": f"{(root / INDEX).stat().st_size / 2**20:.1f}",
        "bytes sent to a worker": len(pickle.dumps(files)),
    }


def _anonymous_kib() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))
