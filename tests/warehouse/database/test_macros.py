"""The macros against numpy, and what they read: only the row groups of their head."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from schemas.tables import TABLES
from tests.synthetic import Shape, write_basis, write_scan, write_texts
from warehouse.database.publish import publish
from warehouse.database.query import connect
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.store.reading import read_head

PICTURES, SHARDS = 48, 3
NATIVE, STORED = "L1H3", "L2H1"
OTHER = Shape(layers=(2,), d_head=5, d_joint=7)


@dataclass(frozen=True)
class Published:
    """A published warehouse of two scans, `new` (the default) and `old`."""

    warehouse: Warehouse
    new: ScanDir
    old: ScanDir


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    root = tmp_path_factory.mktemp("warehouse")
    old = write_scan(root, "old", 20, OTHER, seed=5, created_at="2025-01-01T00:00:00+00:00")
    new = write_scan(root, "new", PICTURES)
    texts = write_texts(root)
    write_basis(old, texts)
    write_basis(new, texts, "early", created_at="2025-06-01T00:00:00+00:00", seed=7)
    write_basis(new, texts)
    publish(Warehouse(root), materialise=[NATIVE])
    return Published(Warehouse(root), new, old)


@pytest.fixture
def con(published: Published) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(published.warehouse) as connection:
        yield connection


def key(image_id: int) -> str:
    return f"birds/{image_id:07d}.png"


def vectors(scan: ScanDir, layer: int, head: int) -> np.ndarray:
    shards = sorted(p.name for p in scan.shards.iterdir())
    ids, rows = read_head(scan, shards, layer, head)
    assert (ids == np.arange(len(ids))).all()
    return rows.astype(np.float64)


def nearest(
    rows: np.ndarray, query: np.ndarray, metric: str, k: int, leave_out: int = -1
) -> list[tuple[int, float]]:
    """Literally: score every row against the query, sort, take k."""
    scores = rows @ query
    if metric == "cosine":
        scores = scores / (np.linalg.norm(rows, axis=1) * np.linalg.norm(query))
    order = sorted((i for i in range(len(rows)) if i != leave_out), key=lambda i: (-scores[i], i))
    return [(i, float(scores[i])) for i in order[:k]]


@pytest.mark.parametrize("name", [NATIVE, STORED])
@pytest.mark.parametrize("metric", ["cosine", "dot"])
@pytest.mark.parametrize("centred", [True, False])
def test_nearest_by_head_is_the_literal_search(
    con: duckdb.DuckDBPyConnection, published: Published, name: str, metric: str, centred: bool
) -> None:
    layer, head = int(name[1]), int(name[3])
    rows = vectors(published.new, layer, head)
    rows -= rows.mean(axis=0) if centred else 0
    for start in (0, 17, PICTURES - 1):
        found = con.execute(
            "SELECT rank, key, image_id, score FROM nearest_by_head(?, ?, k := 7, metric := ?,"
            " centred := ?)",
            [key(start), name, metric, centred],
        ).fetchall()
        expected = nearest(rows, rows[start], metric, 7, leave_out=start)
        assert [r[0] for r in found] == list(range(7))
        assert [r[2] for r in found] == [i for i, _ in expected]
        assert [r[1] for r in found] == [key(i) for i, _ in expected]
        np.testing.assert_allclose([r[3] for r in found], [s for _, s in expected], rtol=1e-4)


@pytest.mark.parametrize("name", [NATIVE, STORED])
@pytest.mark.parametrize("metric", ["cosine", "dot"])
@pytest.mark.parametrize("centred", [True, False])
def test_nearest_by_text_is_the_literal_search(
    con: duckdb.DuckDBPyConnection, published: Published, name: str, metric: str, centred: bool
) -> None:
    layer, head = int(name[1]), int(name[3])
    rows = vectors(published.new, layer, head)
    rows -= rows.mean(axis=0) if centred else 0
    text, vector = con.execute(
        "SELECT text, vector FROM textspan WHERE scan_id = 'new' AND basis = 'words'"
        " AND layer = ? AND head = ? AND rank = 1",
        [layer, head],
    ).fetchall()[0]
    found = con.execute(
        "SELECT image_id, score FROM nearest_by_text(?, ?, metric := ?, centred := ?)",
        [text, name, metric, centred],
    ).fetchall()
    expected = nearest(rows, np.array(vector), metric, 10)
    assert [i for i, _ in found] == [i for i, _ in expected]
    np.testing.assert_allclose([s for _, s in found], [s for _, s in expected], rtol=1e-4)


@pytest.mark.parametrize("name", [NATIVE, STORED])
def test_text_deciles_are_the_middles_of_tenths(
    con: duckdb.DuckDBPyConnection, published: Published, name: str
) -> None:
    rows = vectors(published.new, int(name[1]), int(name[3]))
    rows -= rows.mean(axis=0)
    text, vector = con.execute(
        "SELECT text, vector FROM head_texts(?, scan := 'new') JOIN textspan USING (rank, text)"
        " WHERE rank = 1 AND layer = layer_of(?, NULL) AND head = head_of(?, NULL)"
        " AND textspan.scan_id = 'new' AND textspan.basis = 'words'",
        [name, name, name],
    ).fetchall()[0]
    scores = np.sort(rows @ np.array(vector))
    found = con.execute("SELECT decile, score FROM text_deciles(?, ?)", [text, name]).fetchall()
    assert [d for d, _ in found] == list(range(10))
    at = [int(np.ceil(len(scores) * (d + 0.5) / 10)) - 1 for d in range(10)]
    np.testing.assert_allclose([s for _, s in found], scores[at], atol=1e-4)


def test_nearest_by_embedding_is_the_literal_search(
    con: duckdb.DuckDBPyConnection, published: Published
) -> None:
    table = con.sql(
        "SELECT image_id, embedding FROM images WHERE scan_id = 'new' ORDER BY image_id"
    ).fetchall()
    rows = np.array([embedding for _, embedding in table], np.float32)
    expected = nearest(rows, rows[3], "dot", 7, leave_out=3)
    found = con.execute(
        "SELECT image_id, score FROM nearest_by_embedding(?, k := 7)", [key(3)]
    ).fetchall()
    assert [i for i, _ in found] == [i for i, _ in expected]
    np.testing.assert_allclose([s for _, s in found], [s for _, s in expected], rtol=1e-4)


def test_a_head_by_name_or_by_numbers_in_any_spelling(con: duckdb.DuckDBPyConnection) -> None:
    start = key(3)
    con.execute("SET VARIABLE strongest = (SELECT name FROM heads WHERE name = 'L2H1' LIMIT 1)")
    expected = con.execute("FROM nearest_by_head(?, 2, 1, k := 4)", [start]).fetchall()
    for call, values in (
        ("nearest_by_head(?, 'L2H1', k := 4)", [start]),
        ("nearest_by_head(?, ?, ?, k := 4)", [start, 2, 1]),
        ("nearest_by_head(?, '2', '1', 4)", [start]),
        ("nearest_by_head(?, layer := 2, head := 1, k := 4, scan := 'new')", [start]),
        (
            "nearest_by_head((SELECT key FROM images WHERE scan_id = 'new' AND image_id = 3),"
            " getvariable('strongest'), k := 4)",
            [],
        ),
    ):
        assert con.execute(f"FROM {call}", values).fetchall() == expected, call


def test_a_head_by_subquery_is_refused(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(duckdb.BinderException, match="cannot contain subqueries"):
        con.execute("FROM nearest_by_head('birds/0000003.png', (SELECT min(name) FROM heads))")


def test_many_questions_in_one_statement(con: duckdb.DuckDBPyConnection) -> None:
    starts = [key(3), key(5), key(40)]
    found = con.execute(
        "SELECT q.start, n.rank, n.image_id FROM (SELECT unnest(?) AS start) AS q,"
        " nearest_by_head(q.start, 'L2H1', k := 2) AS n ORDER BY ALL",
        [starts],
    ).fetchall()
    one_by_one = [
        (start, *row)
        for start in starts
        for row in con.execute(
            "SELECT rank, image_id FROM nearest_by_head(?, 'L2H1', k := 2)", [start]
        ).fetchall()
    ]
    assert found == one_by_one


def test_another_scan_has_its_own_width_and_basis(
    con: duckdb.DuckDBPyConnection, published: Published
) -> None:
    rows = vectors(published.old, 2, 0)
    rows -= rows.mean(axis=0)
    found = con.execute(
        "SELECT image_id, scan_id FROM nearest_by_head(?, 'L2H0', scan := 'old')", [key(2)]
    ).fetchall()
    assert [i for i, _ in found] == [i for i, _ in nearest(rows, rows[2], "cosine", 10, 2)]
    assert {s for _, s in found} == {"old"}
    assert con.execute("FROM head_texts('L2H0', scan := 'old')").fetchall()


def test_head_texts_are_in_order_and_of_the_newest_basis(con: duckdb.DuckDBPyConnection) -> None:
    rows = con.execute("SELECT rank, text, basis FROM head_texts(2, 1)").fetchall()
    assert rows == [(0, "text 1", "words"), (1, "text 2", "words"), (2, "text 3", "words")]
    named = con.execute("SELECT DISTINCT basis FROM head_texts('L2H1', basis := 'early')")
    assert named.fetchall() == [("early",)]


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        ("nearest_by_head('none.png', 'L2H1')", "no picture 'none.png' in scan 'new'"),
        ("nearest_by_head('none.png', 'L1H3')", "no picture 'none.png' in scan 'new'"),
        ("nearest_by_head('birds/0000003.png', 'L2H9')", "no head L2H9 in scan 'new'"),
        ("nearest_by_head('birds/0000003.png', 99, 1)", "no head 99, 1 in scan 'new'"),
        ("nearest_by_head('birds/0000003.png', 'colour')", "no head colour in scan 'new'"),
        (
            "nearest_by_head('birds/0000003.png', 'L2H1', 5)",
            "'L2H1' is layer and head, so 5 cannot be the head",
        ),
        ("nearest_by_head('birds/0000003.png', 'L2H1', scan := 'x')", "no scan 'x'"),
        ("nearest_by_head('birds/0000003.png', 'L2H1', metric := 'l2')", "no metric 'l2'"),
        ("nearest_by_head(NULL, 'L2H1')", "no picture 'NULL'"),
        ("nearest_by_text('text 19', 'L2H1')", "has no text 'text 19' in basis 'words'"),
        ("nearest_by_text('text 1', 'L2H1', basis := 'x')", "no TextSpan basis 'x' in scan 'new'"),
        ("nearest_by_text('text 1', 'L7H1')", "no head L7H1"),
        ("head_texts('L7H1')", "no head L7H1"),
        ("head_texts('L2H1', basis := 'x')", "no TextSpan basis 'x' in scan 'new'"),
    ],
)
def test_what_does_not_exist_is_said(
    con: duckdb.DuckDBPyConnection, call: str, complaint: str
) -> None:
    for columns in ("*", "count(*)", "rank"):
        with pytest.raises(duckdb.Error, match=complaint):
            con.execute(" ".join(["SELECT", columns, "FROM", call])).fetchall()


def test_every_example_of_a_table_runs(con: duckdb.DuckDBPyConnection) -> None:
    for table in TABLES:
        assert table.name in table.example
        con.execute(table.example).fetchall()


# What is read


@dataclass(frozen=True)
class Read:
    """One Parquet scan of a query's profile; row groups are known from DuckDB 2.0 on."""

    files: int
    rows: int
    row_groups: int | None


def reads(con: duckdb.DuckDBPyConnection, sql: str, values: Any = None) -> list[Read]:
    """Run a query under DuckDB's profiler; return its scans of contribution files."""
    con.execute("PRAGMA enable_profiling = 'no_output'")
    con.execute("PRAGMA profiling_mode = 'detailed'")
    con.execute(sql, values).fetchall()
    profile = json.loads(con.get_profiling_information("json"))
    con.execute("PRAGMA disable_profiling")
    found: list[Read] = []

    def walk(node: dict[str, Any]) -> None:
        extra = node.get("extra_info") or {}
        if extra.get("Function") == "READ_PARQUET" and "vector" in str(extra.get("Projections")):
            rows = node.get("rows_scanned", node.get("operator_cardinality"))
            files = int(extra["Total Files Read"])
            found.append(Read(files, int(rows), node.get("row_groups_scanned")))
        for child in node.get("children", []):
            walk(child)

    for node in profile.get("operator", profile.get("children")):
        walk(node)
    return sorted(found, key=lambda read: read.rows)


WHOLE_HEAD = Read(SHARDS, PICTURES, SHARDS)
ONE_PICTURE = Read(1, 1, 1)


def same(found: list[Read], expected: list[Read]) -> bool:
    """Compare what was read; DuckDB before 2.0 counts no row groups, and files before pruning."""
    if any(f.row_groups is None for f in found):
        return [f.rows for f in found] == [e.rows for e in expected]
    return found == expected


@pytest.mark.parametrize(
    ("sql", "values"),
    [
        ("FROM nearest_by_head('birds/0000003.png', 2, 1)", None),
        ("FROM nearest_by_head('birds/0000003.png', 'L2H1', k := 3)", None),
        ("FROM nearest_by_head(?, ?, ?, k := ?)", [key(3), 2, 1, 3]),
        ("FROM nearest_by_head($key, $head, scan := $scan, centred := $centred)",
         {"key": key(3), "head": "L2H1", "scan": "new", "centred": True}),
        ("FROM nearest_by_head('birds/0000003.png', 'L1H3', centred := false)", None),
        ("FROM nearest_by_head((SELECT uri[11:] FROM image_index WHERE scan_id = 'new'"
         " AND image_id = 3), 'L2H1')", None),
        ("SELECT i.width FROM nearest_by_head('birds/0000003.png', 'L2H1') AS n"
         " JOIN images AS i USING (scan_id, image_id)", None),
    ],
)  # fmt: skip
def test_by_head_only_the_row_groups_of_that_head_are_read(
    con: duckdb.DuckDBPyConnection, sql: str, values: Any
) -> None:
    found = reads(con, sql, values)
    assert same(found, [ONE_PICTURE, WHOLE_HEAD]), found


def test_a_prepared_statement_reads_no_more(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("PREPARE ask AS FROM nearest_by_head($1, $2)")
    found = reads(con, "EXECUTE ask('birds/0000003.png', 'L2H1')")
    assert same(found, [ONE_PICTURE, WHOLE_HEAD]), found


@pytest.mark.parametrize(
    "sql",
    [
        "FROM nearest_by_text('text 2', 'L2H1')",
        "SELECT max(len(vector)) FROM contributions"
        " WHERE scan_id = 'new' AND layer = 2 AND head = 1",
    ],
)
def test_one_pass_reads_the_row_groups_of_that_head_once(
    con: duckdb.DuckDBPyConnection, sql: str
) -> None:
    found = reads(con, sql)
    assert same(found, [WHOLE_HEAD]), found


@pytest.mark.parametrize(
    ("sql", "values"),
    [
        ("FROM nearest_by_head('birds/0000003.png', 'L1H3')", None),
        ("FROM nearest_by_head(?, ?, ?)", [key(3), 1, 3]),
        ("FROM nearest_by_text('text 4', 'L1H3')", None),
    ],
)
def test_a_materialised_head_reads_no_contribution_file(
    con: duckdb.DuckDBPyConnection, sql: str, values: Any
) -> None:
    assert reads(con, sql, values) == []


def test_contributions_are_what_was_written(
    con: duckdb.DuckDBPyConnection, published: Published
) -> None:
    for layer, head in ((1, 0), (2, 3)):
        table: pa.Table = con.sql(
            "SELECT vector FROM contributions WHERE scan_id = 'new' AND layer = ? AND head = ?"
            " ORDER BY image_id",
            params=[layer, head],
        ).to_arrow_table()
        found = np.array(table["vector"].to_pylist())
        assert (found == vectors(published.new, layer, head)).all()


def test_unit_vectors_are_centred_and_unit(
    con: duckdb.DuckDBPyConnection, published: Published
) -> None:
    rows = vectors(published.new, 1, 3)
    rows -= rows.mean(axis=0)
    found = con.execute("SELECT norm, vector FROM unit_vectors ORDER BY image_id").fetchall()
    norms, units = np.array([r[0] for r in found]), np.array([r[1] for r in found])
    np.testing.assert_allclose(norms[:, None] * units, rows, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1, atol=1e-5)
