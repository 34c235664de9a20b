"""Images a second from the FFHQ loader with ISPL's full degradation at 512 px, in wall time.

The workers are processes of their own, so the main process's CPU time would not show their work:
these rows are wall time, one after the other, and only a quiet machine gives them their meaning.
"""

import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.timing import Row
from datamodules.degradations.ispl import Full
from datamodules.ffhq import FFHQ
from datamodules.loading import Loading
from datamodules.synthetic import DrawnSet, write_drawn

SIZE, BATCH, BATCHES, ROUNDS = 512, 8, 24, 5


def run() -> list[Row]:
    """Seconds an image, from PNG files and from uncompressed copies, by 2 workers and by none."""
    with tempfile.TemporaryDirectory() as folder:
        write_drawn(Path(folder), "ffhq", DrawnSet(train=64, val=2, test=2, size=SIZE))
        return [_row(Path(folder), workers, cache) for cache in (False, True) for workers in (2, 0)]


def _row(root: Path, workers: int, cache: bool) -> Row:
    loading = Loading(workers=workers, cache=cache)
    data = FFHQ(str(root), size=SIZE, batch_size=BATCH, degradation=Full(), loading=loading)
    data.prepare_data()
    data.setup("fit")
    batches = iter(data.train_dataloader())
    for _ in range(4):  # workers start, and their queues fill
        next(batches)
    seconds = [_seconds(batches) for _ in range(ROUNDS)]
    low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
    kind = "uncompressed copies" if cache else "PNG"
    speed = {"images per second": round(1 / median, 1), "clock": "wall"}
    return Row(f"FFHQ, full, 512 px, {kind}, {workers} workers", median, high - low, extras=speed)


def _seconds(batches: "object") -> float:
    start = time.perf_counter()
    for _ in range(BATCHES):
        next(batches)  # type: ignore[call-overload]
    return (time.perf_counter() - start) / BATCHES / BATCH
