"""Drawing the small CLIP's pictures: two processes, as training draws them."""

import time

from benchmarks.rows import Row
from demo import world

PICTURES = 3_000
PROCESSES = 2


def run() -> list[Row]:
    """Time a thousand pictures, the start of the processes included."""
    rows = []
    for side, bar in ((world.IMAGE_SIZE, 2.0), (world.LARGEST_SIZE, None)):
        started = time.perf_counter()
        world.batch("train", 0, PICTURES, processes=PROCESSES, side=side)
        seconds = (time.perf_counter() - started) * 1_000 / PICTURES
        note = f"{side} pixels a side, {PROCESSES} processes, of {PICTURES:,}"
        rows.append(Row("1,000 pictures of the world drawn", seconds, "s", bar, note))
    return rows
