"""A small warehouse for tests of the database: to grow, and to ask for one value."""

import numpy as np

from tests.synthetic import (
    Shape,
    add_shard,
    commit,
    draw,
)
from warehouse.database.query import connect
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.store import snapshots
from warehouse.store.shards import load_manifest

NEAREST = "SELECT key, score FROM nearest_by_head('birds/0000003.png', 'L2H1', k := 3)"
SMALL = Shape(layers=(2,))


def grow(warehouse: Warehouse) -> ScanDir:
    """Commit a further shard of four pictures to the scan."""
    scan = warehouse.scan("scan")
    newest = snapshots.latest(scan)
    assert newest is not None
    rng = np.random.default_rng(9)
    drawn = {layer: draw(SMALL, 4, rng) for layer in SMALL.layers}
    number = len(newest.shards)
    added = add_shard(scan, SMALL, number, drawn, rng, first=newest.next_image_id)
    live = [load_manifest(scan, s.shard) for s in newest.shards]
    commit(scan, [*live, added], newest.next_image_id + 4)
    return scan


def one(warehouse: Warehouse, sql: str) -> object:
    """Return the answer's only value."""
    with connect(warehouse) as con:
        ((value,),) = con.execute(sql).fetchall()
    return value
