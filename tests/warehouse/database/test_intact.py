"""What publishing loads of shards is compared with its digests once, and when it was touched."""

import os
from pathlib import Path

import pytest

from schemas.errors import CorruptStore
from tests.synthetic import write_scan
from tests.warehouse.database.small import SMALL, grow
from warehouse.database import intact, metadata
from warehouse.database.publish import publish
from warehouse.database.query import connect
from warehouse.database.sqltext import Sql, Value
from warehouse.files.atomic import sha256_file
from warehouse.files.layout import Warehouse
from warehouse.store import shards


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the files, as SHARD/FILE, whose bytes are compared."""
    found: list[str] = []

    def count(path: Path) -> str:
        found.append(f"{path.parent.name}/{path.name}")
        return sha256_file(path)

    monkeypatch.setattr(shards, "sha256_file", count)
    return found


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Return a warehouse of two shards."""
    write_scan(tmp_path, pictures=20, shape=SMALL)
    return Warehouse(tmp_path)


def both(shard: str) -> list[str]:
    return [f"{shard}/images.parquet", f"{shard}/rejects.parquet"]


def test_a_night_compares_its_own_shard_alone(
    warehouse: Warehouse, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intact, "_SETTLED", 0)
    publish(warehouse)
    assert sorted(read) == both("000000") + both("000001")
    read.clear()
    publish(warehouse)
    assert read == []
    grow(warehouse)
    read.clear()
    publish(warehouse)
    assert sorted(read) == both("000002")
    read.clear()
    (warehouse.versions / "checked.json").write_text("[broken")
    publish(warehouse)
    assert len(read) == 6


def test_a_file_that_was_touched_is_compared_again(
    warehouse: Warehouse, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intact, "_SETTLED", 0)
    publish(warehouse)
    read.clear()
    path = warehouse.scan("scan").shards / "000001" / "images.parquet"
    whole, before = path.read_bytes(), path.stat()
    os.utime(path)
    publish(warehouse)
    assert sorted(read) == both("000001")
    # the time of writing put back: that of the change tells
    path.write_bytes(whole[:99] + bytes([whole[99] ^ 4]) + whole[100:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(CorruptStore, match=r"000001/images\.parquet is not what was written"):
        publish(warehouse)
    path.unlink()
    with pytest.raises(CorruptStore, match=r"000001/images\.parquet is missing"):
        publish(warehouse)
    path.write_bytes(whole)
    publish(warehouse)


def test_what_was_written_a_moment_ago_is_compared_once_more(
    warehouse: Warehouse, read: list[str]
) -> None:
    publish(warehouse)
    publish(warehouse)
    assert len(read) == 8


def test_metadata_is_looked_into_once_a_shard(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = metadata.load

    def count(name: str, **values: Value) -> Sql:
        asked.append(name)
        return real(name, **values)

    monkeypatch.setattr(metadata, "load", count)
    columns = "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = $1"

    def published() -> list[tuple[str, str]]:
        publish(warehouse)
        with connect(warehouse) as con:
            return con.execute(columns, ["image_metadata"]).fetchall()

    first = published()
    assert "metadata/structure" in asked
    asked.clear()
    assert published() == first
    assert "metadata/structure" not in asked
    # a night's pictures have another name, and words where there were numbers
    write_scan(warehouse.root, "other", 2, SMALL, metadata=['{"year": "MMI"}', '{"new": true}'])
    assert dict(published())["year"] == "VARCHAR"
    assert dict(published())["new"] == "BOOLEAN"
    assert dict(first)["year"] == "BIGINT"
