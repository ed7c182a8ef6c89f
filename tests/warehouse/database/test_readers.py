"""Readers of the published database: plain clients, older DuckDB, moved and attached files."""

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from schemas.tables import TABLES
from tests.synthetic import (
    commit,
    write_basis,
    write_heads,
    write_scan,
    write_texts,
)
from tests.warehouse.database.small import NEAREST, SMALL, grow, one
from warehouse.database.publish import publish
from warehouse.database.query import connect, query
from warehouse.database.sqltext import literal
from warehouse.files.layout import Warehouse
from warehouse.store import gc, snapshots
from warehouse.store.shards import load_manifest

PLAIN_CLIENT = """
import sys, duckdb
con = duckdb.connect(sys.argv[1], read_only=True)
print(con.execute(sys.argv[2]).fetchall(), flush=True)
sys.stdin.readline()
print(con.execute(sys.argv[2]).fetchall(), flush=True)
"""


def start_client(folder: Path, database: Path, sql: str) -> subprocess.Popen[str]:
    """Ask with duckdb alone, in a fresh process in another folder, and again after a line."""
    return subprocess.Popen(
        [sys.executable, "-I", "-c", PLAIN_CLIENT, str(database), sql],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_plain_clients_two_at_once_keep_their_version_through_publish_and_gc(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    publish(warehouse)
    with connect(warehouse) as con:
        before = f"{con.execute(NEAREST).fetchall()}\n"
    with (
        start_client(tmp_path, warehouse.database, NEAREST) as first,
        start_client(tmp_path, warehouse.database, NEAREST) as second,
    ):
        assert [c.stdout.readline() for c in (first, second) if c.stdout] == [before, before]
        # the newest snapshot, all that the next version reads, names none of the older shards
        scan = grow(warehouse)
        newest = snapshots.latest(scan)
        assert newest is not None
        commit(scan, [load_manifest(scan, newest.shards[-1].shard)], newest.next_image_id)
        write_heads(scan)
        publish(warehouse)
        gc.collect(warehouse, "scan", keep_snapshots=1)
        assert one(warehouse, "SELECT count(*) FROM images") == 4
        for client in (first, second):
            after, _ = client.communicate("go on\n")
            assert (after, client.returncode) == (before, 0)


def test_a_connection_keeps_its_version_in_one_process(warehouse: Warehouse) -> None:
    publish(warehouse)
    with connect(warehouse) as old:
        grow(warehouse)
        publish(warehouse)
        assert old.execute("SELECT version FROM published").fetchall() == [(1,)]
        assert old.execute("SELECT count(*) FROM images").fetchall() == [(20,)]
        assert one(warehouse, "SELECT version FROM published") == 2
        assert one(warehouse, "SELECT count(*) FROM images") == 24


def test_a_moved_warehouse_is_bound_again(warehouse: Warehouse, tmp_path: Path) -> None:
    publish(warehouse)
    before = query(warehouse, NEAREST)
    moved = Warehouse(warehouse.root.rename(tmp_path / "moved"))
    assert query(moved, NEAREST).equals(before)
    with duckdb.connect(str(moved.database.resolve()), read_only=True) as con:
        with pytest.raises(duckdb.IOException):
            con.execute(NEAREST)
        con.execute("SET VARIABLE headatlas_root = " + literal(str(moved.root)))
        assert con.sql(NEAREST).to_arrow_table().equals(before)
    publish(moved)
    with duckdb.connect(str(moved.database.resolve()), read_only=True) as con:
        assert con.sql(NEAREST).to_arrow_table().equals(before)


def test_older_duckdb_opens_the_file(warehouse: Warehouse) -> None:
    publish(warehouse)
    with connect(warehouse) as con:
        ((tags,),) = con.execute(
            "SELECT tags FROM duckdb_databases() WHERE NOT internal"
        ).fetchall()
    assert tags["storage_version"].startswith("v1.4.")
    # DuckDB's main header: a checksum of 8 bytes, DUCK, then the storage version
    header = warehouse.database.read_bytes()[8:20]
    assert header[:4] == b"DUCK"
    assert 64 <= int.from_bytes(header[4:], "little") <= 67


ASK_ATTACHED = """
import sys, duckdb
con = duckdb.connect()
con.execute(f"ATTACH '{sys.argv[1]}' AS a (READ_ONLY)")
con.execute("USE a")
print(duckdb.__version__, len(con.execute(sys.argv[2]).fetchall()))
"""


@pytest.mark.slow
def test_duckdb_1_4_opens_it_and_answers(tmp_path: Path) -> None:
    root = tmp_path / "w"
    write_basis(write_scan(root, pictures=20, shape=SMALL), write_texts(root))
    published = publish(Warehouse(root), materialise=["L2H0"])
    older = tmp_path / "older"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--target",
        str(older),
        "duckdb==1.4.*",
    ]
    subprocess.run(install, check=True)
    for sql, rows in ((NEAREST, 3), ("FROM default_scan.textspan", 12)):
        done = subprocess.run(
            [sys.executable, "-c", ASK_ATTACHED, str(published.path), sql],
            env={**os.environ, "PYTHONPATH": str(older)},
            capture_output=True,
            text=True,
        )
        version, _, count = done.stdout.partition(" ")
        assert (version[:4], int(count)) == ("1.4.", rows), done.stderr


def test_the_default_scan_has_a_schema_of_its_own(tmp_path: Path) -> None:
    old = write_scan(tmp_path, "old", 5, SMALL, created_at="2025-01-01T00:00:00+00:00")
    new = write_scan(tmp_path, "new", 8, SMALL)
    texts = write_texts(tmp_path)
    for scan in (old, new):
        write_basis(scan, texts)
    warehouse = Warehouse(tmp_path)
    publish(warehouse)
    with connect(warehouse) as con:
        for table in TABLES:
            if "scan_id" in (c.name for c in table.columns):
                mine = con.table(f"default_scan.{table.name}")
                whole = con.table(table.name).filter("scan_id = 'new'")
                assert mine.columns == whole.columns
                assert mine.types == whole.types
                assert sorted(map(repr, mine.fetchall())) == sorted(map(repr, whole.fetchall()))
        assert con.execute("SELECT count(*) FROM default_scan.images").fetchall() == [(8,)]
        con.execute("USE default_scan")
        assert con.execute("SELECT count(*) FROM contributions").fetchall() == [(32,)]


def test_the_database_can_be_attached_to_another(warehouse: Warehouse) -> None:
    publish(warehouse)
    expected = query(warehouse, NEAREST)
    with duckdb.connect() as con:
        con.execute("ATTACH " + literal(str(warehouse.database)) + " AS a (READ_ONLY)")
        assert len(con.execute("FROM a.images").fetchall()) == 20
        assert len(con.execute("FROM a.default_scan.images").fetchall()) == 20
        # a macro's names are looked up where the asker is, not where the macro is
        with pytest.raises(duckdb.CatalogException, match="does not exist"):
            con.execute("FROM a.head_texts('L2H1')")
        con.execute("CREATE TABLE mine (key VARCHAR)")
        con.execute("SET search_path = 'a,memory'")
        assert con.sql(NEAREST).to_arrow_table().equals(expected)
        assert con.execute("FROM mine").fetchall() == []
        con.execute("USE a")
        assert con.sql(NEAREST).to_arrow_table().equals(expected)
