"""The explorer's pages: a head's at a million pictures, the grids of large models, and its start.

The million pictures are those of `nearest`: synthetic vectors in the file layout of 24 layers of 16
heads, one head materialised, with a basis of drawn directions.
"""

import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from starlette.testclient import TestClient

from benchmarks import nearest
from benchmarks.rows import Row
from jobs.explore.app import application
from jobs.explore.explorer import Explorer
from tests.synthetic import Shape, write_basis, write_scan, write_texts
from warehouse.database.publish import publish
from warehouse.files.layout import Warehouse

HEAD = f"L{nearest.LAYER}H{nearest.HEAD}"
PORT, REPEATS, PATIENCE = 8799, 5, 60.0


def run(work: Path, pictures: int = 1_000_000) -> list[Row]:
    """Time pages by a client in this process, and the program's start by a socket."""
    large = Warehouse(work / "large" / "warehouse")
    scan = nearest.build(large, pictures)
    write_basis(scan, write_texts(large.root))
    publish(large, materialise=(HEAD,))
    size = f"{pictures:,} pictures, {HEAD} materialised"
    seconds, data = _page(large, f"/head/{HEAD}")
    rows = [
        Row("explorer, head page to the first byte", seconds, "s", 0.5, size),
        Row("explorer, head page before pictures", data / 1e6, "MB", 1.0, size),
    ]
    for panel, page in (
        ("strip0", f"/head/{HEAD}"),
        ("nearest", f"/head/{HEAD}"),
        ("scatter", "/"),
    ):
        seconds, _ = _page(large, f"{page}?panel={panel}")
        rows.append(Row(f"explorer, panel {panel}", seconds, "s", None, size))
    rows.append(Row("explorer, start to first page", _start(large), "s", 1.5, size))
    for layers, heads in ((24, 16), (48, 25)):
        shape = Shape(tuple(range(layers)), layers, heads, d_head=4, d_joint=8, shard_size=8)
        grid = Warehouse(work / f"{layers}x{heads}")
        write_scan(grid.root, pictures=8, shape=shape)
        publish(grid)
        seconds, _ = _page(grid, "/")
        rows.append(Row(f"explorer, atlas of {layers} x {heads} heads", seconds, "s", 0.3))
    return rows


def _page(warehouse: Warehouse, address: str) -> tuple[float, int]:
    """Return the median seconds of a page, warm, and its bytes."""
    app = application(Explorer.over(warehouse), hosts=(), token=None)
    client, seconds = TestClient(app), []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        answer = client.get(address)
        seconds.append(time.perf_counter() - started)
        answer.raise_for_status()
    return statistics.median(seconds[1:]), len(answer.content)


def _start(warehouse: Warehouse) -> float:
    """Return the seconds from the program's start to its first whole page."""
    command = [sys.executable, "-m", "headatlas", "explore", "--warehouse", str(warehouse.root)]
    started = time.perf_counter()
    with subprocess.Popen([*command, "--port", str(PORT)], stdout=subprocess.DEVNULL) as process:
        try:
            while time.perf_counter() - started < PATIENCE:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{PORT}/").read()
                    return time.perf_counter() - started
                except urllib.error.URLError:
                    time.sleep(0.02)
            raise TimeoutError(f"no page within {PATIENCE:g} s")
        finally:
            process.terminate()
