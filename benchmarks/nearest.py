"""nearest_by_head over a million pictures, from Parquet and from native unit vectors.

The warehouse is synthetic: shards of 4,096 pictures with the file layout of a model of 24 layers of
16 heads, d_head 64. One layer is filled (16 heads, 2 GB at a million pictures); the files of the
others are hard links to it, so that the views list as many files as they would. Embeddings are
narrow, since the macro does not read them.
"""

import os
import statistics
import time
from pathlib import Path

import duckdb
import numpy as np

from benchmarks.rows import Row
from schemas.files import CONTRIBUTIONS
from schemas.manifest import ShardManifest
from tests.synthetic import Shape, add_shard, commit, draw, record, write_heads
from warehouse.database.publish import publish
from warehouse.files.layout import ScanDir, Warehouse

LAYER, HEAD, THREADS, REPEATS = 22, 11, 2, 5
SHAPE = Shape(
    layers=tuple(range(24)), n_layers=24, n_heads=16, d_head=64, d_joint=8, shard_size=4096
)
QUESTION = "SELECT key, score FROM nearest_by_head($key, '{head}', k := 10)"


def run(work: Path, pictures: int) -> list[Row]:
    """Build the warehouse below `work`, which the caller deletes, and time queries by head.

    Each question starts from another picture. Cold: a new connection, and the files dropped from
    the page cache. Warm: the median of the next five questions.
    """
    warehouse = Warehouse(work / "warehouse")
    scan = build(warehouse, pictures)
    size = f"{pictures:,} pictures, {len(list(scan.shards.iterdir()))} shards"
    rows = []
    for name, heads, bar in (("Parquet", (), 0.5), ("materialised", (f"L{LAYER}H{HEAD}",), 0.1)):
        published = publish(warehouse, materialise=heads)
        rows.append(Row(f"publish, {name}", published.seconds, "s", None, size))
        cold, warm, cpu = ask(warehouse, pictures)
        note = f"{size}; {THREADS} threads; CPU {cpu:.2f} s a question"
        rows.append(Row(f"nearest_by_head, {name}, warm", warm, "s", bar, note))
        rows.append(Row(f"nearest_by_head, {name}, cold", cold, "s", None, size))
    return rows


def build(warehouse: Warehouse, pictures: int) -> ScanDir:
    """Write the scan; shards repeat one drawn block of vectors, each in another order."""
    rng = np.random.default_rng(0)
    scan = warehouse.create_scan("million")
    scan.save_record(record(scan.name, SHAPE, "2026-01-01T00:00:00+00:00"))
    block = draw(SHAPE, SHAPE.shard_size, rng)
    manifests: list[ShardManifest] = []
    for number, first in enumerate(range(0, pictures, SHAPE.shard_size)):
        count = min(SHAPE.shard_size, pictures - first)
        drawn = {LAYER: block[:, rng.permutation(SHAPE.shard_size)[:count]]}
        manifests.append(add_shard(scan, SHAPE, number, drawn, rng, first=first))
    _link_every_layer(scan)
    commit(scan, manifests, pictures)
    write_heads(scan, (LAYER,))
    return scan


def _link_every_layer(scan: ScanDir) -> None:
    """Let the other layers' files be links to the one that is filled."""
    layers = range(SHAPE.n_layers)
    for filled in scan.shards.glob(f"*/layer={LAYER}/{CONTRIBUTIONS}"):
        for layer in layers:
            path = filled.parent.parent / f"layer={layer}" / CONTRIBUTIONS
            if layer != LAYER:
                path.parent.mkdir()
                path.hardlink_to(filled)


def ask(
    warehouse: Warehouse, pictures: int, head: str = f"L{LAYER}H{HEAD}"
) -> tuple[float, float, float]:
    """Return seconds of a cold question, of a warm one, and CPU seconds of a warm one."""
    _drop_from_cache(warehouse.root)
    with duckdb.connect(str(warehouse.database.resolve()), read_only=True) as con:
        con.execute(f"SET threads = {THREADS}")
        wall, cpu = [], []
        for n in range(REPEATS + 1):
            key = f"birds/{(n * 7919) % pictures:07d}.png"
            started, used = time.perf_counter(), time.process_time()
            answer = con.execute(QUESTION.format(head=head), {"key": key}).fetchall()
            wall.append(time.perf_counter() - started)
            cpu.append(time.process_time() - used)
            assert len(answer) == 10
    return wall[0], statistics.median(wall[1:]), statistics.median(cpu[1:])


def _drop_from_cache(folder: Path) -> None:
    """Ask the system to forget the pages of every file below `folder`."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(handle)
