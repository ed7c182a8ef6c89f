"""Of two scans, SQL and every command ask the same one when none is named."""

from pathlib import Path

import numpy as np
import pytest

from jobs.steps.opened import open_scan
from tests.synthetic import Shape, add_shard, commit, draw, write_scan
from warehouse.database.publish import publish
from warehouse.database.query import connect
from warehouse.files.layout import Warehouse
from warehouse.store import snapshots
from warehouse.store.shards import load_manifest

SMALL = Shape(layers=(2,))


def commit_again(warehouse: Warehouse, name: str) -> None:
    """Commit a further shard of four pictures to a scan, now."""
    scan = warehouse.scan(name)
    newest = snapshots.latest(scan)
    assert newest is not None
    rng = np.random.default_rng(9)
    drawn = {layer: draw(SMALL, 4, rng) for layer in SMALL.layers}
    added = add_shard(scan, SMALL, len(newest.shards), drawn, rng, first=newest.next_image_id)
    live = [load_manifest(scan, shard.shard) for shard in newest.shards]
    commit(scan, [*live, added], newest.next_image_id + 4)


@pytest.mark.parametrize("older", ["a", "b"])
def test_the_older_of_two_scans_stays_so_when_it_is_committed_last(
    tmp_path: Path, older: str
) -> None:
    newer = "b" if older == "a" else "a"
    begun = {older: "2026-01-01T00:00:00+00:00", newer: "2026-01-02T00:00:00+00:00"}
    for seed, (name, when) in enumerate(begun.items()):
        write_scan(tmp_path, name, pictures=8, shape=SMALL, seed=seed, created_at=when)
    warehouse = Warehouse(tmp_path)
    commit_again(warehouse, older)
    last = {name: snapshots.latest(warehouse.scan(name)) for name in begun}
    assert last[older].created_at > last[newer].created_at  # type: ignore[union-attr]
    publish(warehouse)

    # what every command opens that is given no --scan
    assert open_scan(warehouse, None).name == newer
    with connect(warehouse) as con:
        for sql in (
            "SELECT default_scan FROM published",
            "SELECT scan_id FROM scans WHERE is_default",
            "SELECT DISTINCT scan_id FROM default_scan.images",
            "SELECT DISTINCT scan_id FROM nearest_by_head('birds/0000003.png', 'L2H1')",
        ):
            assert con.execute(sql).fetchall() == [(newer,)], sql
