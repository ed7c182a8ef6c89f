"""Answers as text: what is read back is what was asked, whatever stands in it."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.database.formats import FORMATS, visible, write_readable

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
odd = st.sampled_from(["", " ", "a,b", 'a"b', "tab\there", "two\nlines", "\r\n", "\\N", "NULL"])
numbers = st.floats(width=32) | st.none()
rows = st.lists(
    st.tuples(
        texts | odd | st.none(),
        st.integers(-(2**63), 2**63 - 1) | st.none(),
        numbers,
        st.floats() | st.none(),
        st.lists(st.none() | texts | odd, max_size=3) | st.none(),
        st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=3),
    ),
    max_size=5,
)
SCHEMA = pa.schema(
    {
        "text": pa.string(),
        "whole": pa.int64(),
        "float": pa.float32(),
        "double": pa.float64(),
        "texts": pa.list_(pa.string()),
        "floats": pa.list_(pa.float32()),
    }
)


def table(drawn: Sequence[tuple[object, ...]]) -> pa.Table:
    return pa.Table.from_pylist(
        [dict(zip(SCHEMA.names, row, strict=True)) for row in drawn], schema=SCHEMA
    )


def spelled(name: str, found: pa.Table) -> str:
    return "".join(FORMATS[name](found.to_reader()))


def same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return one == other and (not isinstance(one, float) or str(one) == str(other))


@settings(max_examples=30, deadline=None)
@given(rows)
def test_csv_read_back_is_the_answer(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[object, ...]]
) -> None:
    found = table(drawn)
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_text(spelled("csv", found), newline="")
    back = duckdb.sql(
        f"""FROM read_csv('{path}', header = true, all_varchar = true, quote = '"', escape = '"',
            delim = ',', new_line = '\\n', auto_detect = false, allow_quoted_nulls = false,
            strict_mode = true, columns = {{{", ".join(f"'{n}': 'VARCHAR'" for n in SCHEMA.names)}}})"""  # noqa: E501
    ).fetchall()
    assert len(back) == len(found)
    for got, want in zip(back, found.to_pylist(), strict=True):
        text, whole, short, double, texts_, floats = got
        assert text == want["text"]
        assert (None if whole is None else int(whole)) == want["whole"]
        for value, name in ((short, "float"), (double, "double")):
            assert value is None if want[name] is None else same(_float(value, name), want[name])
        assert (None if texts_ is None else json.loads(texts_)) == want["texts"]
        assert pa.array(json.loads(floats), pa.float32()).to_pylist() == want["floats"]


def _float(text: str, name: str) -> float:
    kind = pa.float32() if name == "float" else pa.float64()
    value: float = pa.array([float(text)], kind)[0].as_py()
    return value


@settings(max_examples=30, deadline=None)
@given(rows)
def test_json_read_back_is_the_answer(drawn: list[tuple[object, ...]]) -> None:
    found = table(drawn)
    back = json.loads(spelled("json", found))
    assert len(back) == len(found)
    for got, want in zip(back, found.to_pylist(), strict=True):
        for name in ("text", "whole", "texts"):
            assert got[name] == want[name]
        for name in ("float", "double"):
            value = want[name]
            if value is None or not math.isfinite(value):
                assert got[name] is None
            else:
                assert same(_float(repr(got[name]), name), value)
        assert pa.array(got["floats"], pa.float32()).to_pylist() == want["floats"]


@settings(max_examples=30, deadline=None)
@given(rows)
def test_tsv_has_a_line_a_row_and_a_field_a_column(drawn: list[tuple[object, ...]]) -> None:
    found = table(drawn)
    head, *lines = spelled("tsv", found).removesuffix("\n").split("\n")
    assert head == "\t".join(SCHEMA.names)
    assert len(lines) == len(found)
    for line, want in zip(lines, found.to_pylist(), strict=True):
        text = line.split("\t")[0]
        assert len(line.split("\t")) == len(SCHEMA)
        escapes = {"\\\\": "\\", "\\t": "\t", "\\n": "\n", "\\r": "\r"}
        parts, at = [], 0
        while at < len(text):
            two = text[at : at + 2]
            parts.append(escapes.get(two, text[at]))
            at += 2 if two in escapes else 1
        assert (None if text == "\\N" else "".join(parts)) == want["text"]


@pytest.mark.parametrize("name", ["table", "line", "markdown"])
def test_a_terminal_obeys_nothing_that_is_stored(name: str) -> None:
    bad = "\x1b[31mred\x1b]0;title\x07 \x9b2J \u202egnp.exe\r\b"
    found = pa.table({"a\x1b[2J": [bad], "list": [[bad]], "b": ["[bold]plain[/bold]"]})
    said = spelled(name, found).replace("\n", "")
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or c == "\u202e" for c in said)
    assert "[31mred" in said and "[bold]plain[/bold]" in said


def test_a_table_that_is_too_wide_becomes_lines() -> None:
    narrow = pa.table({"a": [1, 2]})
    assert "│ 1 " in "".join(write_readable(narrow.to_reader(), 80)).replace("│     1", "│ 1")
    wide = pa.table({f"column {i}": [i] for i in range(30)})
    lines = "".join(write_readable(wide.to_reader(), 80)).splitlines()
    assert lines[0].split() == ["column", "0", "=", "0"]
    assert len(lines) == 30


def test_names_that_repeat_and_answers_without_rows_are_written() -> None:
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    assert spelled("csv", twice) == "a,a\n1,2\n"
    assert json.loads(spelled("json", twice)) == [{"a": 1, "a_1": 2}]
    none = table([])
    assert json.loads(spelled("json", none)) == []
    assert spelled("csv", none).count("\n") == 1
    assert spelled("markdown", none).count("\n") == 2
    for name in FORMATS:
        spelled(name, pa.table({}))


def test_visible_spells_out_control_characters() -> None:
    assert visible("a\x1bb\nc\x85é") == "a\\x1bb\\nc\\x85é"


def test_other_types_are_spelled(tmp_path: Path) -> None:
    found = duckdb.sql(
        "SELECT 123.450::DECIMAL(10, 3) AS d, DATE '2026-01-02' AS day, {'a': [1, NULL]} AS s,"
        " MAP {'k': 1} AS m, 'x\\xAA'::BLOB AS b, true AS t, INTERVAL 3 DAY AS i"
    ).to_arrow_table()
    assert json.loads(spelled("json", found))[0] == {
        "d": 123.45, "day": "2026-01-02", "s": {"a": [1, None]}, "m": {"k": 1}, "b": "x\\xAA",
        "t": True, "i": "3 days",
    }  # fmt: skip
    line = spelled("csv", found).splitlines()[1]
    assert line == '123.450,2026-01-02,"{""a"":[1,null]}","{""k"":1}",x\\xAA,true,3 days'
