"""One reading of what pictures say of themselves: in Python, in SQL, from CSV and from Parquet."""

import json
import math
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.steps.ablated import open_scene
from jobs.steps.attributes import store_attributes
from jobs.steps.logits import store_logits
from jobs.steps.opened import opened
from jobs.steps.whatif import ablate_sets
from schemas.errors import UsageError
from tests.cue import plant
from tests.synthetic import Shape, write_scan
from warehouse.database.macros import definition, in_order
from warehouse.database.publish import publish
from warehouse.database.query import connect, query
from warehouse.files.layout import Warehouse
from warehouse.store import snapshots
from warehouse.store.columns import condition, kind_of, plain, truth, values_of
from warehouse.store.select import select_images

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
spellings = st.from_regex(r"[-+ ]?[0-9]{0,4}(\.[0-9]{0,3})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)
values = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | texts | spellings
values |= st.floats(allow_nan=False, allow_infinity=False)


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    opened = duckdb.connect()
    for macro in in_order():
        if macro.name in ("plain_value", "plain_number", "written_out", "metadata_value"):
            opened.execute(definition(macro))
    return opened


@settings(max_examples=100, deadline=None)
@given(texts | spellings)
def test_sql_and_python_spell_alike(con: duckdb.DuckDBPyConnection, text: str) -> None:
    ((found,),) = con.execute("SELECT plain_value(?)", [text]).fetchall()
    assert found == plain(text)
    assert found is None or plain(found) == found


@settings(max_examples=100, deadline=None)
@given(values, texts)
def test_a_column_of_metadata_is_read_alike(
    con: duckdb.DuckDBPyConnection, value: object, name: str
) -> None:
    metadata = json.dumps({name: value}, ensure_ascii=False)
    ((found,),) = con.execute("SELECT metadata_value(?, ?)", [metadata, name]).fetchall()
    assert found == values_of(metadata).get(name)


@given(st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_equal_where_their_spellings_are(whole: int, real: float) -> None:
    spelled = {plain(str(whole)), plain(f"{whole}.0"), plain(f"{whole}.000"), plain(f"{whole}e+0")}
    assert len(spelled) == 1
    again = plain(repr(real))
    assert again is not None and math.isclose(float(again), real, rel_tol=0, abs_tol=0)
    assert values_of(json.dumps({"a": real}))["a"] == again


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("1", "1"), ("1.0", "1"), ("-0.0", "0"), ("2.50", "2.5"), ("1e-07", "0.0000001"),
        ("007", "007"), ("7", "7"), ("+1", "+1"), ("1e5", "1e5"), (" 1", " 1"), ("1.", "1."),
        ("True", "true"), ("FALSE", "false"), ("tRUE", "tRUE"), ("", None), (" \t", None),
        ("9007199254740993", "9007199254740993"), ("nan", "nan"), ("Water bird", "Water bird"),
    ],
)  # fmt: skip
def test_spellings(text: str, read: str | None) -> None:
    assert plain(text) == read


def test_what_all_values_are() -> None:
    assert kind_of(["1", "2"]) == "BIGINT"
    assert kind_of(["1", "2.5"]) == kind_of(["2.5", "1"]) == kind_of(["1" * 19]) == "DOUBLE"
    assert kind_of(["true", "false"]) == "BOOLEAN"
    assert kind_of(["1", "true"]) == kind_of(["007", "1"]) == kind_of([]) == "VARCHAR"


def test_conditions() -> None:
    assert condition("split = 1.0") == condition("split=1") == ("split", "1")
    assert condition("flag=True") == ("flag", "true")
    assert condition("label=007") == ("label", "007")
    for wrong in ("split", "=1", "split="):
        with pytest.raises(UsageError, match="expected column=value"):
            condition(wrong)


def test_labels_of_csv_and_parquet_are_the_same_classes() -> None:
    for labels in (["0", "1"], ["0.0", "1.0"], ["0", "1.0"]):
        rows = pa.table({"label": ["1", "1.0", None, "007"], "metadata": ["{}"] * 4})
        assert truth(rows, "label", labels).tolist() == [1, 1, -1, -1]
    rows = pa.table({"label": ["007", "7", "7.0"], "metadata": ["{}"] * 3})
    assert truth(rows, "label", ["007", "7"]).tolist() == [0, 1, 1]


# the same listing as CSV writes it (by pandas, one blank cell) and as Parquet has it
AS_CSV = ['{"split":"1.0","flag":"True","code":"007"}', '{"split":"2.0","flag":"False","code":"7"}',
          '{"split":"","flag":"","code":""}']  # fmt: skip
AS_PARQUET = ['{"split":1,"flag":true,"code":"007"}', '{"split":2.0,"flag":false,"code":"7"}',
              '{"split":null,"flag":null,"code":null}']  # fmt: skip


@pytest.mark.parametrize("listed", [AS_CSV, AS_PARQUET], ids=["csv", "parquet"])
def test_csv_and_parquet_are_one_in_sql_and_in_conditions(
    tmp_path: Path, listed: list[str]
) -> None:
    shape = Shape(layers=(2,), shard_size=30)
    scan = write_scan(
        tmp_path, pictures=30, shape=shape, metadata=[listed[i % 3] for i in range(30)]
    )
    warehouse = Warehouse(tmp_path)
    publish(warehouse)
    with connect(warehouse) as con:
        for sql in ("split = 1", "flag", "flag = true", "code = '007'"):
            ask = f"SELECT count(*) FROM image_metadata WHERE {sql}"  # noqa: S608
            assert con.execute(ask).fetchall() == [(10,)], sql
        kinds = con.table("image_metadata").select("split, flag, code").types
        assert [str(k) for k in kinds] in (
            ["BIGINT", "BOOLEAN", "VARCHAR"], ["DOUBLE", "BOOLEAN", "VARCHAR"],
        )  # fmt: skip
    newest = snapshots.latest(scan)
    assert newest is not None
    shards = [live.shard for live in newest.shards]
    for where in ("split = 1", "split < 2", "flag", "code = '007'"):
        assert len(select_images(scan, shards, where)) == 10, where


def test_every_reader_of_a_column_agrees_whatever_its_spelling(tmp_path: Path) -> None:
    said = []
    for spelling in ("{}", "{}.0"):
        planted = plant(tmp_path / spelling, pictures=120, spelling=spelling)
        snapshot = snapshots.latest(planted.scan)
        assert snapshot is not None
        found = opened(planted.scan, snapshot)
        store_logits(found, planted.classifier)
        store_attributes(found)
        warehouse = Warehouse(planted.root)
        publish(warehouse)
        scene = open_scene(warehouse, "birds", "kinds", ("place",), condition("split=1"))
        streamed = [(r.group, r.n, r.accuracy) for r in ablate_sets(scene, [[(1, 2)]]).rows()]
        in_sql = query(
            warehouse,
            "FROM group_accuracy('kinds', ['L1H2'], by := ['place', 'split'])",
        ).to_pylist()
        attributes = query(
            warehouse, "SELECT layer, head, attribute, r2, groups FROM head_attributes ORDER BY ALL"
        ).to_pylist()
        said.append((streamed, in_sql, attributes))
    assert said[0] == said[1]
    assert [g for g, _, _ in said[0][0]] == [("0",), ("1",)]
    assert {tuple(r["members"]) for r in said[0][1] if r["kind"] == "group"} == {
        ("0", "1"), ("0", "2"), ("1", "1"), ("1", "2"),
    }  # fmt: skip
