"""Rows of pictures taken over from the version before are those that the files would give."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.synthetic import add_shard, commit, draw, write_scan
from tests.warehouse.database.small import SMALL, grow
from warehouse.database import build, metadata
from warehouse.database.publish import publish
from warehouse.database.query import connect
from warehouse.database.sqltext import Sql, Value
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.store import snapshots
from warehouse.store.shards import load_manifest

INDEX, METADATA = "load/image_index_before", "metadata/load_before"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the statements by which pictures are loaded."""
    found: list[str] = []
    real = build.load

    def count(name: str, **values: Value) -> Sql:
        if name.startswith(("load/image_index", "metadata/load")):
            found.append(name)
        return real(name, **values)

    for module in (build, metadata):
        monkeypatch.setattr(module, "load", count)
    return found


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Return a published warehouse of two scans, of two shards and of one."""
    write_scan(tmp_path, "scan", 20, SMALL)
    write_scan(tmp_path, "other", 2, SMALL, metadata=['{"year": 7}', '{"word": "one"}'])
    publish(Warehouse(tmp_path))
    return Warehouse(tmp_path)


def published(warehouse: Warehouse) -> list[Any]:
    """Publish, and return all that is said of pictures, with types and comments."""
    publish(warehouse)
    with connect(warehouse) as con:
        found = [con.table("image_metadata").types, con.table("image_metadata").columns]
        for table in ("image_index", "image_metadata"):
            found.append(con.execute(f"FROM {table} ORDER BY scan_id, image_id").fetchall())
        comments = "SELECT comment FROM duckdb_columns() WHERE table_name = 'image_metadata'"
        return [*found, con.execute(comments).fetchall()]


def anew(warehouse: Warehouse) -> list[Any]:
    """Publish from the files alone."""
    shutil.rmtree(warehouse.versions)
    return published(warehouse)


def live(scan: ScanDir) -> list[str]:
    newest = snapshots.latest(scan)
    assert newest is not None
    return [shard.shard for shard in newest.shards]


def test_a_night_takes_over_what_has_not_changed(warehouse: Warehouse, asked: list[str]) -> None:
    asked.clear()
    grow(warehouse)
    found = published(warehouse)
    # both scans' old rows, and the new shard's
    assert sorted(asked) == [
        "load/image_index", INDEX, INDEX, "metadata/load", METADATA, METADATA,
    ]  # fmt: skip
    assert len(found[2]) == 26
    asked.clear()
    assert found == anew(warehouse)
    assert INDEX not in asked and METADATA not in asked


def test_a_shard_that_went_takes_its_rows_along(warehouse: Warehouse, asked: list[str]) -> None:
    scan = warehouse.scan("scan")
    commit(scan, [load_manifest(scan, live(scan)[1])], 20)
    asked.clear()
    found = published(warehouse)
    assert set(asked) == {INDEX, METADATA}
    assert [row[1] for row in found[2] if row[0] == "scan"] == [16, 17, 18, 19]
    assert found == anew(warehouse)


def test_a_column_of_another_type_is_read_anew(warehouse: Warehouse, asked: list[str]) -> None:
    asked.clear()
    write_scan(warehouse.root, "third", 2, SMALL, metadata=['{"year": "MMI"}', '{"new": true}'])
    found = published(warehouse)
    assert INDEX in asked and METADATA not in asked
    assert {"2001", "7", "MMI"} <= {row[found[1].index("year")] for row in found[3]}
    assert found == anew(warehouse)


def test_a_shard_made_again_under_its_name_is_read_anew(warehouse: Warehouse) -> None:
    scan = warehouse.scan("scan")
    first, second = live(scan)
    shutil.rmtree(scan.shard(second))
    rng = np.random.default_rng(3)
    drawn = {2: draw(SMALL, 3, rng)}
    made = add_shard(scan, SMALL, 1, drawn, rng, first=30, names=["x.png", "y.png", "z.png"])
    assert made.shard == second
    commit(scan, [load_manifest(scan, first), made], 33)
    found = published(warehouse)
    assert [row[1] for row in found[2] if row[0] == "scan"][-3:] == [30, 31, 32]
    assert found == anew(warehouse)


def test_a_note_of_another_version_or_of_other_statements_is_not_believed(
    warehouse: Warehouse, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    note = warehouse.versions / "rows.json"
    older = note.read_text()
    publish(warehouse)
    note.write_text(older)
    asked.clear()
    publish(warehouse)
    assert INDEX not in asked
    monkeypatch.setattr("warehouse.database.carried._STATEMENTS", ("load/image_index",))
    asked.clear()
    publish(warehouse)
    assert INDEX not in asked
    asked.clear()
    publish(warehouse)
    assert INDEX in asked
