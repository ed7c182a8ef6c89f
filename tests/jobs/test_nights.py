"""Nights in which pictures come, change and vanish: nothing is lost and nothing is left over."""

from pathlib import Path

import numpy as np
import pytest

import headatlas
from benchmarks.nights import SCAN, Change, Nights
from warehouse.database.query import query
from warehouse.files.layout import Warehouse
from warehouse.store import snapshots

CONTRIBUTIONS = (
    "SELECT key, layer, head, vector FROM contributions JOIN images USING (scan_id, image_id) "
    "ORDER BY key, layer, head"
)


def test_nights_leave_what_a_scan_from_nothing_would(tmp_path: Path) -> None:
    nights = Nights(tmp_path / "nights", start=40, shard_size=16)
    nights.run(8, Change(new=5, changed=1, vanished=5))
    assert nights.lost() == nights.problems() == 0
    newest = snapshots.latest(nights.warehouse.scan(SCAN))
    assert newest is not None and newest.images == len(nights.keys) == 40
    lines = nights.measured()
    assert len(lines) == 8 and all(line["pictures"] == 40 for line in lines)
    # and a new process goes on where this one was
    assert sorted(Nights(tmp_path / "nights").keys) == sorted(nights.keys)
    fresh = tmp_path / "fresh"
    headatlas.scan(
        nights.pictures,
        model=tmp_path / "nights/tiny.json",
        pretrained="none",
        warehouse=fresh,
        scan=SCAN,
        labels="folder",
        workers=0,
        publish=True,
    )
    one, other = (query(w, CONTRIBUTIONS).to_pydict() for w in (nights.warehouse, Warehouse(fresh)))
    for column in ("key", "layer", "head"):
        assert one.pop(column) == other.pop(column)
    assert np.array(one["vector"]) == pytest.approx(np.array(other["vector"]), abs=2e-3)
