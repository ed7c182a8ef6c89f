"""Drawing the small CLIP's pictures: two processes, as training draws them."""

import time

from benchmarks.rows import Row
from demo import world

PICTURES = 10_000
PROCESSES = 2


def run() -> list[Row]:
    """Time a thousand pictures of many, the start of the processes included."""
    rows = []
    for side, bar in ((world.IMAGE_SIZE, 2.0), (world.LARGEST_SIZE, None)):
        started = time.perf_counter()
        with world.painters(PROCESSES) as by:
            world.batch("train", 0, PICTURES, by=by, side=side)
        seconds = (time.perf_counter() - started) * 1_000 / PICTURES
        note = f"{side} pixels a side, {PROCESSES} processes, of {PICTURES:,}"
        rows.append(Row("1,000 pictures of the world drawn", seconds, "s", bar, note))
    return rows
