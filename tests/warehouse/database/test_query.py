"""Asking from Python, writing answers to files, and SQL written out as text."""

from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import StoreError, UsageError
from warehouse.database.export import export as write_file
from warehouse.database.publish import publish
from warehouse.database.query import Parameters, answering, connect, query
from warehouse.database.sqltext import Value, identifier, literal, render
from warehouse.files.layout import Warehouse


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
