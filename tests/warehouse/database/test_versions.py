"""Versions of the published database: numbered, linked, pruned; killed and concurrent publishes."""

import json
import multiprocessing
from pathlib import Path

import pytest

from schemas.errors import StoreError, UnknownName
from tests.warehouse.database.small import one
from warehouse.database import versions
from warehouse.database.publish import Published, publish
from warehouse.files.layout import Warehouse
from warehouse.store import gc


def test_versions_are_numbered_linked_and_pruned(warehouse: Warehouse) -> None:
    paths = [publish(warehouse, keep=2).path for _ in range(4)]
    assert [p.name for p in paths] == [f"atlas-{n:06d}.duckdb" for n in (1, 2, 3, 4)]
    left = sorted(p.name for p in warehouse.versions.glob("atlas-*"))
    assert left == [
        "atlas-000003.duckdb", "atlas-000003.json", "atlas-000004.duckdb", "atlas-000004.json",
    ]  # fmt: skip
    assert warehouse.database.readlink() == Path("atlas/atlas-000004.duckdb")
    sidecar = json.loads((warehouse.versions / "atlas-000004.json").read_text())
    assert sidecar == {"version": 4, "scans": {"scan": 1}, "materialise": [], "keep": 2}
    assert gc.published_snapshots(warehouse) == {"scan": {1}}


def test_versions_to_keep_are_a_setting_of_the_warehouse(warehouse: Warehouse) -> None:
    for _ in range(5):
        publish(warehouse)
    assert len(versions.existing(warehouse)) == 3
    publish(warehouse, keep=10)
    for _ in range(4):
        publish(warehouse)
    assert len(versions.existing(warehouse)) == 8
    publish(warehouse, keep=1)
    publish(warehouse)
    assert [v.number for v in versions.existing(warehouse)] == [12]


def test_what_a_killed_publish_left_is_removed(warehouse: Warehouse) -> None:
    publish(warehouse)
    for name in ("atlas-000002.duckdb.tmp", "atlas-000002.duckdb.tmp.wal", "atlas-000002.json"):
        (warehouse.versions / name).write_text("half")
    assert publish(warehouse).version == 2
    assert not list(warehouse.versions.glob("*.tmp*"))


def test_a_publish_that_fails_changes_nothing(warehouse: Warehouse) -> None:
    publish(warehouse)
    before = sorted(warehouse.versions.iterdir()), warehouse.database.readlink()
    with pytest.raises(UnknownName, match="no head 'L9H9'"):
        publish(warehouse, materialise=["L9H9"])
    (warehouse.scan("scan").shards / "000001" / "images.parquet").unlink()
    with pytest.raises(StoreError, match=r"images\.parquet.*headatlas verify"):
        publish(warehouse)
    assert (sorted(warehouse.versions.iterdir()), warehouse.database.readlink()) == before


def _publish(root: Path) -> Published:
    return publish(Warehouse(root), keep=9)


def test_concurrent_publishes_wait_for_each_other(warehouse: Warehouse) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        done = pool.map(_publish, [warehouse.root] * 3)
    assert sorted(p.version for p in done) == [1, 2, 3]
    assert [v.number for v in versions.existing(warehouse)] == [1, 2, 3]
    assert one(warehouse, "SELECT version FROM published") == 3
