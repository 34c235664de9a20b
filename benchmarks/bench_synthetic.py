"""How fast faces are drawn, raw, clean and mask together: processor seconds of one core."""

import statistics
import time

from benchmarks.timing import Row
from datamodules.synthetic import draw_face

FACES = {32: 12, 128: 24, 256: 8, 512: 4}


def run() -> list[Row]:
    """Median seconds a face, and faces a second, at each size."""
    rows = []
    for size, count in FACES.items():
        draw_face(0, 0, size)
        seconds = statistics.median(_seconds(identity, size) for identity in range(count))
        speed = {"faces per second": round(1 / seconds, 1)}
        rows.append(Row(f"draw_face, {size} px", seconds, extras=speed))
    return rows


def _seconds(identity: int, size: int) -> float:
    start = time.process_time()
    draw_face(identity, 0, size)
    return time.process_time() - start
