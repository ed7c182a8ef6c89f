"""Publishing: versions and links, readers, moving, what the tables hold; and asking from Python."""

import json
import multiprocessing
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import StoreError, UnknownName, UsageError
from schemas.macros import MACROS
from schemas.tables import LAYER_VIEW, ROLE_VIEW, TABLES
from tests.synthetic import (
    Shape,
    add_shard,
    commit,
    draw,
    write_basis,
    write_heads,
    write_scan,
    write_texts,
)
from warehouse.database import versions
from warehouse.database.export import export as write_file
from warehouse.database.materialise import Head
from warehouse.database.metadata import column_names
from warehouse.database.publish import Published, publish
from warehouse.database.query import Parameters, answering, connect, query
from warehouse.database.sqltext import Value, identifier, literal, names, render
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.store import gc, snapshots
from warehouse.store.shards import load_manifest

NEAREST = "SELECT key, score FROM nearest_by_head('birds/0000003.png', 'L2H1', k := 3)"
SMALL = Shape(layers=(2,))


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Return a warehouse of one small scan with a basis, in a folder that SQL must quote."""
    root = tmp_path / "it's [a] warehouse"
    scan = write_scan(root, pictures=20, shape=SMALL)
    write_basis(scan, write_texts(root))
    return Warehouse(root)


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


# What is published


def test_everything_declared_exists_with_its_comment_and_the_other_way_round(
    warehouse: Warehouse,
) -> None:
    publish(warehouse)
    with connect(warehouse) as con:
        tables = con.execute(
            "SELECT table_name, 'table', comment FROM duckdb_tables() UNION ALL"
            " SELECT view_name, 'view', comment FROM duckdb_views()"
            " WHERE NOT internal AND schema_name = 'main'"
        ).fetchall()
        layers = con.execute(
            "SELECT view_name, comment FROM duckdb_views() WHERE schema_name = 'by_layer'"
        ).fetchall()
        columns = con.execute(
            "SELECT schema_name || '.' || table_name, column_name, data_type, comment"
            " FROM duckdb_columns() WHERE NOT internal ORDER BY table_name, column_index"
        ).fetchall()
        macros = con.execute(
            "SELECT function_name, function_type, parameters, comment FROM duckdb_functions()"
            " WHERE NOT internal"
        ).fetchall()
    assert sorted(tables) == sorted((t.name, t.kind, t.comment) for t in TABLES)
    assert sorted(layers) == [(name, LAYER_VIEW.comment) for name in ("none", "scan/L2")]
    for name, table in [
        *((f"main.{t.name}", t) for t in TABLES),
        *((f"by_layer.{n}", LAYER_VIEW) for n, _ in layers),
        ("by_role.none", ROLE_VIEW),
    ]:
        found = [row[1:] for row in columns if row[0] == name]
        declared = [(c.name, c.type, c.comment) for c in table.columns]
        assert found[: len(declared)] == declared, table.name
        assert table.open or len(found) == len(declared)
        assert all(comment for _, _, comment in found), table.name
    assert sorted(macros) == sorted(
        (
            m.name,
            "macro" if m.kind == "scalar" else "table_macro",
            [p.name for p in m.parameters],
            m.comment,
        )
        for m in MACROS
    )
    assert names("macros") == sorted(m.name for m in MACROS)
    views = sorted(t.name for t in (*TABLES, LAYER_VIEW, ROLE_VIEW) if t.kind == "view")
    assert names("views") == views


def test_macros_return_the_columns_declared(warehouse: Warehouse) -> None:
    publish(warehouse)
    calls = {
        "nearest_by_head": "FROM nearest_by_head('birds/0000003.png', 'L2H1')",
        "nearest_by_role": "FROM nearest_by_role('birds/0000003.png', 'colour')",
        "nearest_by_text": "FROM nearest_by_text('text 1', 'L2H1')",
        "head_texts": "FROM head_texts('L2H1')",
    }
    declared = {m.name: [c.name for c in m.columns] for m in MACROS if m.name in calls}
    assert declared.keys() == calls.keys()
    with connect(warehouse) as con:
        # nothing has a role here: the question is planned and not asked
        assert {name: con.sql(call).columns for name, call in calls.items()} == declared


def test_rows_are_those_of_the_files(warehouse: Warehouse) -> None:
    published = publish(warehouse)
    assert published.scans == {"scan": 1}
    assert published.stale == ()
    counts = {
        "scans": 1, "images": 20, "image_index": 20, "image_metadata": 20, "rejects": 2,
        "heads": 4, "contributions": 80, "unit_vectors": 0, "pools": 1, "descriptions": 20,
        "results": 2, "textspan": 12, "published": 1,
    }  # fmt: skip
    with connect(warehouse) as con:
        found = {t.name: len(con.table(t.name).fetchall()) for t in TABLES}
    assert found == {t.name: 0 for t in TABLES} | counts
    metadata = query(warehouse, "SELECT place, year, half FROM image_metadata WHERE image_id = 7")
    assert metadata.to_pylist() == [{"place": "water", "year": 2002, "half": 3.5}]
    (scan,) = query(warehouse, "FROM scans").to_pylist()
    assert (scan["n_layers"], scan["layers"], scan["images"]) == (3, [2], 20)
    assert scan["is_default"]


def test_an_empty_warehouse_has_every_table(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    assert publish(warehouse).scans == {}
    with connect(warehouse) as con:
        for table in TABLES:
            found = con.table(table.name)
            assert found.columns == [c.name for c in table.columns]
            assert len(found.fetchall()) == (1 if table.name == "published" else 0)
    with pytest.raises(UsageError, match="no scan is published yet"):
        query(warehouse, NEAREST)


def test_a_scan_without_results_or_pictures_still_binds(tmp_path: Path) -> None:
    scan = write_scan(tmp_path, "bare", 4, SMALL)
    scan.heads.unlink()
    rng = np.random.default_rng(0)
    none = write_scan(tmp_path, "none", 4, SMALL)
    empty = add_shard(none, SMALL, 7, {2: draw(SMALL, 0, rng)}, rng, first=0)
    commit(none, [empty], 4)
    unfinished = Warehouse(tmp_path).create_scan("unfinished")
    unfinished.save_record(scan.load_record())
    warehouse = Warehouse(tmp_path)
    assert publish(warehouse).scans == {"bare": 1, "none": 2}
    assert one(warehouse, "SELECT count(*) FROM contributions") == 16
    assert one(warehouse, "SELECT count(*) FROM images") == 4
    assert one(warehouse, "SELECT count(*) FROM rejects") == 2
    with pytest.raises(UsageError, match="no head L2H1 in scan 'bare'"):
        query(warehouse, NEAREST.replace("k := 3", "scan := 'bare'"))


def test_only_scans_named_are_shown_and_the_newest_is_the_default(tmp_path: Path) -> None:
    for name, when in (("a", "2026-02-01"), ("b", "2026-03-01"), ("c", "2026-01-01")):
        write_scan(tmp_path, name, 5, SMALL, created_at=f"{when}T00:00:00+00:00")
    warehouse = Warehouse(tmp_path)
    publish(warehouse)
    assert one(warehouse, "SELECT default_scan FROM published") == "b"
    assert one(warehouse, "SELECT scan_id FROM scans WHERE is_default") == "b"
    assert publish(warehouse, scans=["c", "a"]).scans == {"a": 1, "c": 1}
    assert one(warehouse, "SELECT default_scan FROM published") == "a"
    assert one(warehouse, "SELECT count(DISTINCT scan_id) FROM contributions") == 2
    with pytest.raises(UnknownName, match="there is a, b, c"):
        publish(warehouse, scans=["d"])


def test_results_of_an_older_snapshot_are_marked_stale(warehouse: Warehouse) -> None:
    scan = grow(warehouse)
    published = publish(warehouse)
    assert published.scans == {"scan": 2}
    assert published.stale == ("scan/heads/heads", "scan/textspan/words")
    for table in ("heads", "textspan", "results"):
        with connect(warehouse) as con:
            assert con.table(table).project("stale, snapshot").distinct().fetchall() == [(True, 1)]
    write_heads(scan)
    assert publish(warehouse).stale == ("scan/textspan/words",)


def test_a_shard_of_no_snapshot_is_not_seen(warehouse: Warehouse) -> None:
    publish(warehouse)
    scan = warehouse.scan("scan")
    rng = np.random.default_rng(0)
    add_shard(scan, SMALL, 9, {2: draw(SMALL, 4, rng)}, rng, first=20)
    assert one(warehouse, "SELECT count(*) FROM contributions") == 80
    publish(warehouse)
    assert one(warehouse, "SELECT count(*) FROM contributions") == 80


# Versions and readers


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


# Materialised heads


def test_materialised_heads_are_chosen_by_name_role_or_all(warehouse: Warehouse) -> None:
    publish(warehouse)
    before = query(warehouse, NEAREST)
    published = publish(warehouse, materialise=["L2H1", "L2H3", "L2H1"])
    assert published.materialised == ("scan/L2H1", "scan/L2H3")
    after = query(warehouse, NEAREST)
    assert after["key"].equals(before["key"])
    np.testing.assert_allclose(after["score"], before["score"], rtol=1e-5)
    everything = publish(warehouse, materialise=["all"]).materialised
    assert everything == tuple(Head("scan", 2, h).label for h in range(4))
    assert one(warehouse, "SELECT count(*) FROM unit_vectors") == 80
    with pytest.raises(UnknownName, match="no role 'colour'"):
        publish(warehouse, materialise=["role:colour"])
    with pytest.raises(UsageError, match="no head; write layer and head"):
        publish(warehouse, materialise=["colour"])


# Metadata


def test_metadata_names_become_columns_whatever_they_are() -> None:
    given_names = ["a", "A", "image_id", "", 'say "hi"', "a_2"]
    found = column_names(given_names)
    assert found == {
        "a": "a", "A": "A_2", "image_id": "image_id_2", "": "unnamed", 'say "hi"': 'say "hi"',
        "a_2": "a_2_2",
    }  # fmt: skip


def test_metadata_is_typed_over_all_pictures_and_scans(tmp_path: Path) -> None:
    rows: dict[str, list[dict[str, object]]] = {
        "a": [{"n": 1, "x": 1, "deep": {"k": [1]}, "on": True, "/~'\"": "odd"}, {"n": -2}],
        "b": [{"n": 0.5, "x": "one", "nothing": None}, {}],
    }
    for name, documents in rows.items():
        write_scan(tmp_path, name, 2, SMALL, metadata=[json.dumps(d) for d in documents])
    warehouse = Warehouse(tmp_path)
    publish(warehouse)
    found = query(warehouse, "SELECT * FROM image_metadata ORDER BY scan_id, image_id")
    kinds = {f.name: f.type for f in found.schema}
    assert kinds == {
        "scan_id": pa.string(), "image_id": pa.int64(), "n": pa.float64(), "x": pa.string(),
        "deep": pa.string(), "on": pa.bool_(), "/~'\"": pa.string(), "nothing": pa.string(),
    }  # fmt: skip
    assert found["n"].to_pylist() == [1, -2, 0.5, None]
    assert found["x"].to_pylist() == ["1", None, "one", None]
    assert found["deep"].to_pylist() == ['{"k":[1]}', None, None, None]
    assert found["/~'\""].to_pylist() == ["odd", None, None, None]
    assert found["nothing"].to_pylist() == [None] * 4


# Asking from Python


def test_query_takes_parameters_and_says_errors_in_one_line(warehouse: Warehouse) -> None:
    with pytest.raises(UsageError, match=r"no published database.*run headatlas publish"):
        query(warehouse, "FROM scans")
    publish(warehouse)
    by_position = query(warehouse, "SELECT key FROM images WHERE image_id = ?", [3])
    by_name = query(warehouse, "SELECT key FROM images WHERE image_id = $id", {"id": 3})
    assert by_position.to_pylist() == by_name.to_pylist() == [{"key": "birds/0000003.png"}]
    assert query(warehouse, "SET threads = 1").num_rows == 0
    for sql, message in (
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("SELECT sigmal FROM images", 'Referenced column "sigmal" not found.*"sigma"'),
        ("FROM head_text('L2H1')", "head_text does not exist.*head_texts"),
        ("FROM head_texts('L9H9')", "^no head L9H9 in scan 'scan'; write it as"),
        ("DELETE FROM scans", "read-only"),
    ):
        with pytest.raises(UsageError, match=message) as caught:
            query(warehouse, sql)
        assert "\n" not in str(caught.value)
    (warehouse.scan("scan").shards / "000000" / "images.parquet").unlink()
    with pytest.raises(StoreError, match="headatlas publish") as missing:
        query(warehouse, "SELECT sum(width) FROM images")
    assert "\n" not in str(missing.value)


def export(warehouse: Warehouse, sql: str, path: Path, parameters: Parameters = None) -> None:
    with closing(connect(warehouse)) as con, answering(con, sql, parameters) as reader:
        write_file(reader, path)


def test_export_writes_what_query_returns(warehouse: Warehouse, tmp_path: Path) -> None:
    publish(warehouse)
    sql = "SELECT image_id, key, embedding FROM images WHERE image_id < ? ORDER BY image_id"
    expected = query(warehouse, sql, [5])
    for suffix in (".parquet", ".csv", ".arrow"):
        export(warehouse, sql, tmp_path / f"out{suffix}", [5])
    assert pq.read_table(tmp_path / "out.parquet").to_pylist() == expected.to_pylist()
    with pa.ipc.open_file(tmp_path / "out.arrow") as reader:
        assert reader.read_all().to_pylist() == expected.to_pylist()
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == "image_id,key,embedding"
    assert [line.split(",")[1] for line in lines[1:]] == expected["key"].to_pylist()
    with pytest.raises(UsageError, match=r"\.parquet, \.csv, \.arrow"):
        export(warehouse, sql, tmp_path / "out.xlsx", [5])
    with pytest.raises(UsageError, match="there is no folder"):
        export(warehouse, sql, tmp_path / "none" / "out.csv", [5])
    with pytest.raises(UsageError, match="no rows to write"):
        export(warehouse, "-- nothing", tmp_path / "set.csv")
    with pytest.raises(UsageError, match="syntax error"):
        export(warehouse, "SELEC", tmp_path / "bad.csv")
    assert sorted(p.name for p in tmp_path.glob("*")) == [
        "it's [a] warehouse", "out.arrow", "out.csv", "out.parquet",
    ]  # fmt: skip


# SQL text

text = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
number = st.integers(-(2**62), 2**62)


@given(st.none() | st.booleans() | number | text | st.lists(number) | st.lists(text | st.none()))
def test_literals_come_back_as_they_were(value: Value) -> None:
    ((found,),) = duckdb.sql("SELECT " + literal(value)).fetchall()
    assert found == value


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_identifiers_come_back_as_they_were(name: str) -> None:
    assert duckdb.sql("SELECT 1 AS " + identifier(name)).columns == [name]


def test_render_replaces_names_alone() -> None:
    sql = render("SELECT :a::FLOAT, f(k := 1), :a_b", a="it's", a_b=["x", None, 1.5, True])
    assert sql == "SELECT 'it''s'::FLOAT, f(k := 1), ['x', NULL, 1.5, true]"
    with pytest.raises(KeyError, match="b"):
        render("SELECT :b")
    with pytest.raises(ValueError, match="NUL"):
        literal("a\0b")
