"""Publishing: what the tables hold."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from schemas.errors import UnknownName, UsageError
from schemas.macros import MACROS
from schemas.tables import LAYER_VIEW, ROLE_VIEW, TABLES
from tests.synthetic import (
    add_shard,
    commit,
    draw,
    write_heads,
    write_scan,
)
from tests.warehouse.database.small import NEAREST, SMALL, grow, one
from warehouse.database.materialise import Head
from warehouse.database.metadata import column_names
from warehouse.database.publish import publish
from warehouse.database.query import connect, query
from warehouse.database.sqltext import names
from warehouse.files.layout import Warehouse


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
