"""Invariant 9: every macro raises on a wrong question, whatever stands around it.

Each macro of the registry is asked wrong questions, in every form that a query can give to it.
"""

from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from jobs.commands import similarity
from jobs.commands.similarity import SimilarityConfig
from jobs.steps.drifting import drift_table
from jobs.steps.logits import store_logits
from jobs.steps.opened import opened
from jobs.steps.summary import store_heads
from schemas.macros import MACROS
from schemas.relations import Macro
from schemas.results.concept_shares import concept_shares_schema
from schemas.results.head_edges import head_edges_schema
from schemas.results.head_pairs import head_pairs_schema
from schemas.results.roles import roles_schema
from schemas.results.text_heads import text_heads_schema
from schemas.results.text_textspan import text_textspan_schema
from tests.cue import CHEAT, HONEST, SHAPE, Planted, plant
from tests.synthetic import write_basis, write_texts
from tests.warehouse.database.questions import RIGHT, SCALAR, WRONG
from warehouse.database.publish import publish
from warehouse.database.query import connect
from warehouse.database.sqltext import literal
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.results.files import write_result
from warehouse.store import snapshots
from warehouse.store.frame_table import keep_frames
from warehouse.store.pools import EmbeddedBy, write_embeddings

TABLE_MACROS = [m for m in MACROS if m.kind == "table"]


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    root = tmp_path_factory.mktemp("complaints")
    plant(root, "another", pictures=30, seed=4)
    planted = plant(root, pictures=60)
    snapshot = snapshots.latest(planted.scan)
    assert snapshot is not None
    store_logits(opened(planted.scan, snapshot), planted.classifier)
    named = ((*CHEAT, "place"), (*HONEST, "kind"))
    said_of = [{"layer": at, "head": h, "role": r, "method": "manual"} for at, h, r in named]
    rows = pa.Table.from_pylist(said_of, schema=roles_schema())
    said = {"snapshot": snapshot.number, "created_at": "2026-01-01T00:00:00+00:00"}
    write_result(planted.scan.roles / "words.parquet", rows, said)
    texts = write_texts(root)
    write_basis(planted.scan, texts)
    drawn = planted.scan.load_record()
    keep_frames(planted.scan, drawn.frames_sha256, planted.frames.narrow())
    embeddings = np.random.default_rng(8).standard_normal((len(texts), SHAPE.d_joint))
    by = EmbeddedBy(drawn.model.weights_sha256, drawn.precision)
    write_embeddings(Warehouse(root), "words", by, embeddings.astype(np.float32))
    edges = [
        {
            "src_kind": "head",
            "src_layer": below,
            "src_head": source,
            "layer": layer,
            "head": head,
            "n": 60,
            "share": (source + 1) / 10,
        }
        for layer, head in ((1, 2), (2, 0))
        for below in range(layer)
        for source in range(3)
    ]
    paths = pa.Table.from_pylist(edges, schema=head_edges_schema())
    write_result(planted.scan.results("head_edges") / "head_edges.parquet", paths, said)
    store_heads(planted.scan, snapshot)
    similarity.run(SimilarityConfig(warehouse=root, scan="birds"))
    newest = opened(planted.scan, snapshot)
    moved = drift_table(newest, newest)
    write_result(planted.scan.results("head_drift") / "head_drift.parquet", moved, said)
    shares = [
        {
            "layer": 1,
            "head": head,
            "property": about,
            "texts": 3,
            "share": 0.1 * head,
            "others": 0.2,
            "ceiling": 0.9,
        }
        for head in range(4)
        for about in ("colour", "place")
    ]
    told = pa.Table.from_pylist(shares, schema=concept_shares_schema())
    write_result(planted.scan.results("concept_shares") / "words.parquet", told, said)
    _write_texts_and_pairs(planted.scan, said)
    publish(Warehouse(root), materialise=["L1H1"])
    return planted


def _write_texts_and_pairs(scan: ScanDir, said: dict[str, Any]) -> None:
    """Write two heads of a text tower with a text each, and what an image head shares with them."""
    numbers = {"n": 2, "mean_norm": 0.0, "variance": 1.0, "variance_share": 0.5}
    heads = [
        {"layer": 0, "head": h, "name": f"L0H{h}", "mean": [0.0], "effective_rank": 1.0, **numbers}
        for h in range(2)
    ]
    shares = dict.fromkeys(("variance", "explained", "cumulative", "pca_cumulative"), 0.5)
    of = {"rank": 0, "description_id": 0, "text": "red", "property": None}
    spans = [{"layer": 0, "head": h, **of, **shares} for h in range(2)]
    pairs = [
        {
            "image_kind": "head",
            "image_layer": 1,
            "image_head": 2,
            "text_kind": kind,
            "text_layer": layer,
            "text_head": head,
            "n": 60,
            "mean": 0.1,
            "share": share,
        }
        for kind, layer, head, share in (("head", 0, 1, 0.4), ("mlp", 0, None, 0.3))
    ]
    for kind, name, rows, schema in (
        ("text_heads", "mine", heads, text_heads_schema()),
        ("text_textspan", "mine", spans, text_textspan_schema()),
        ("head_pairs", "label", pairs, head_pairs_schema()),
    ):
        table = pa.Table.from_pylist(rows, schema=schema)
        write_result(scan.results(kind) / f"{name}.parquet", table, said)


@pytest.fixture(scope="module")
def con(birds: Planted) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(Warehouse(birds.root)) as opened:
        yield opened


# what may stand around a macro's call, of each kind that a planner may cut down; `of` is a column
OF_A_COLUMN = """
FROM {call} WHERE {of} = {some}
FROM {call} WHERE {of} IS NULL
FROM {call} WHERE {of} IS NOT NULL
SELECT {of} FROM {call}
SELECT {of} FROM {call} WHERE {of} <> {some}
SELECT {of} FROM {call} ORDER BY {of} LIMIT 1
SELECT {of}, count(*) FROM {call} GROUP BY {of}
SELECT DISTINCT {of} FROM {call}
SELECT max({of}) FROM {call}
SELECT scan_id FROM scans WHERE scan_id IN (SELECT {of}::VARCHAR FROM {call})
SELECT s.scan_id FROM scans AS s JOIN {call} AS m ON s.scan_id = m.{of}::VARCHAR
SELECT s.scan_id FROM scans AS s LEFT JOIN {call} AS m ON s.scan_id = m.{of}::VARCHAR
WITH m AS (SELECT * FROM {call}) SELECT {of} FROM m WHERE {of} IS NULL
SELECT EXISTS (FROM {call} WHERE {of} IS NULL)
"""
OF_THE_WHOLE = """
FROM {call}
FROM {call} LIMIT 1
FROM {call} LIMIT 1 OFFSET 3
SELECT 1 FROM {call} LIMIT 1
SELECT count(*) FROM {call}
SELECT count(*) FROM {call} WHERE {of} IS NULL AND {of} IS NOT NULL
SELECT s.scan_id FROM scans AS s CROSS JOIN {call} AS m
WITH m AS MATERIALIZED (SELECT * FROM {call}) SELECT count(*) FROM m
SELECT EXISTS (SELECT 1 FROM {call})
SELECT scan_id FROM scans WHERE EXISTS (FROM {call})
SELECT scan_id FROM scans WHERE NOT EXISTS (FROM {call})
SELECT (SELECT count(*) FROM {call})
SELECT {of} FROM {call} UNION ALL SELECT {of} FROM {call}
SELECT {of}, row_number() OVER () FROM {call} QUALIFY row_number() OVER () = 1
SELECT {of} FROM {call} USING SAMPLE 1 ROWS
"""


# of the forms after the first question's, and of each column's, one in so many; make test-slow: all
FEWER = 4


def some_of(forms: str, number: int, step: int) -> list[str]:
    """Return each `step`-th form; another `number` begins at another, so that none is left out."""
    return forms.strip().splitlines()[number % step :: step]


def forms(macro: Macro, call: str, number: int = 0, step: int = 1) -> Iterator[str]:
    """Return queries around a call."""
    for form in some_of(OF_THE_WHOLE, number, step):
        yield form.format(call=call, of=f'"{macro.columns[0].name}"')


def forms_of_columns(macro: Macro, call: str, step: int) -> Iterator[str]:
    """Return queries around a call that look at one column each."""
    examples = {"VARCHAR": "'worst'", "BOOLEAN": "true", "VARCHAR[]": "['a']"}
    for number, column in enumerate(macro.columns):
        some = examples.get(column.type, "7")
        for form in some_of(OF_A_COLUMN, number, step):
            yield form.format(call=call, of=f'"{column.name}"', some=some)


@pytest.mark.parametrize("step", [FEWER, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("macro", TABLE_MACROS, ids=lambda m: m.name)
def test_a_wrong_question_raises_in_every_form(
    con: duckdb.DuckDBPyConnection, macro: Macro, step: int
) -> None:
    assert macro.name in WRONG, f"add wrong questions about {macro.name} to this test"
    quiet = []
    for number, (call, words) in enumerate(WRONG[macro.name].items()):
        asked = (
            [*forms(macro, call), *forms_of_columns(macro, call, step)]
            if number == 0
            else forms(macro, call, number, step)
        )
        for sql in asked:
            try:
                rows = con.execute(sql).fetchall()
            except duckdb.Error as error:
                assert words in str(error), (sql, str(error))
            else:
                quiet.append((sql, rows[:2]))
    assert not quiet, quiet


@pytest.mark.parametrize("macro", TABLE_MACROS, ids=lambda m: m.name)
def test_a_right_question_is_answered_in_every_form(
    con: duckdb.DuckDBPyConnection, macro: Macro
) -> None:
    call = RIGHT[macro.name]
    for sql in forms(macro, call):
        con.execute(sql).fetchall()
    found = con.sql(f"FROM {call}")
    assert [(n, str(t)) for n, t in zip(found.columns, found.types, strict=True)] == [
        (c.name, c.type) for c in macro.columns
    ]
    assert found.fetchall()


@pytest.mark.parametrize("macro", [m for m in MACROS if m.kind == "scalar"], ids=lambda m: m.name)
def test_a_scalar_macro_raises_or_is_defined_everywhere(
    con: duckdb.DuckDBPyConnection, macro: Macro
) -> None:
    assert macro.name in SCALAR, f"add a wrong question about {macro.name}, or None, to this test"
    call = SCALAR[macro.name]
    if call is None:
        nulls = ", ".join("NULL" for _ in macro.parameters)
        con.execute(f"SELECT {macro.name}({nulls})").fetchall()
    else:
        with pytest.raises(duckdb.Error, match="; "):
            con.execute(f"SELECT {call}").fetchall()


def test_only_a_question_that_is_not_asked_is_quiet(con: duckdb.DuckDBPyConnection) -> None:
    for rest in ("LIMIT 0", "WHERE false"):
        assert con.execute(f"FROM head_texts('L9H9') {rest}").fetchall() == []


# questions whose arguments are columns: alike whether the column is qualified or called as one of
# the tables that the macro reads
TWO_KEYS = "SELECT unnest(['00007.png', '00003.png']) AS key"
LATERAL = (
    ("heads", "name", "head_texts({})", "SELECT 'L1H2' AS name UNION ALL SELECT 'L0H1'"),
    ("head_edges", "name", "head_feeders({})", "SELECT unnest(['L1H2', 'L2H0']) AS name"),
    ("r", "layer", "head_fed({}, 1)", "SELECT unnest([0, 1]) AS layer"),
    ("c", "property", "concept_heads({})", "SELECT unnest(['colour', 'place']) AS property"),
    ("s", "name", "similar_heads({})", "SELECT unnest(['L1H2', 'L2H0']) AS name"),
    ("t", "text", "nearest_by_text({}, 'L1H2')", "SELECT unnest(['text 3', 'text 2']) AS text"),
    ("images", "key", "nearest_by_head({}, 'L1H2')", TWO_KEYS),
    ("images", "key", "nearest_by_role({}, 'place')", TWO_KEYS),
    ("t", "heads", "ablate('kinds', {})", "SELECT unnest([['L1H2'], ['L0H0', 'L2H0']]) AS heads"),
    ("classifiers", "classifier", "ablate({}, ['L1H2'])", "SELECT 'kinds' AS classifier"),
    ("roles", "role", "ablate_role('kinds', {})", "SELECT unnest(['place', 'kind']) AS role"),
    ("t", "heads", "group_accuracy('kinds', {})", "SELECT unnest([['L1H2'], ['L2H0']]) AS heads"),
    ("scans", "scan_id", "head_texts('L1H2', scan := {})", "SELECT 'birds' AS scan_id"),
)


@pytest.mark.parametrize(("table", "column", "call", "rows"), LATERAL)
def test_an_argument_may_be_a_column_of_any_name(
    con: duckdb.DuckDBPyConnection, table: str, column: str, call: str, rows: str
) -> None:
    values = [value for (value,) in con.execute(rows).fetchall()]
    expected = []
    for value in values:
        spelled = literal(value)
        found = con.execute(f"SELECT m FROM {call.format(spelled)} AS m").fetchall()  # noqa: S608
        expected += [(value, row) for (row,) in found]
    for argument in (column, f"{table}.{column}"):
        asked = "SELECT {0}.{1}, m FROM ({2}) AS {0}, {3} AS m"
        found = con.execute(asked.format(table, column, rows, call.format(argument))).fetchall()
        assert sorted(map(repr, found)) == sorted(map(repr, expected)), argument
    assert expected


def test_a_head_is_explained_by_what_is_there(con: duckdb.DuckDBPyConnection) -> None:
    asked = "SELECT roles, len(texts), direct_rank, feeders, fed FROM explain_head({})"
    assert con.execute(asked.format("'L1H2'")).fetchall() == [
        (["place" if CHEAT == (1, 2) else "kind"], 3, None, ["L0H2", "L0H1", "L0H0"], ["L2H0"])
    ]
    assert con.execute(asked.format("'L0H1', scan := 'another'")).fetchall() == [
        (None, None, None, None, None)
    ]


def test_layer_and_head_may_be_columns(con: duckdb.DuckDBPyConnection) -> None:
    each = con.execute(
        "SELECT layer, head, count(*), count(DISTINCT text) FROM heads, head_texts(layer, head)"
        " WHERE heads.scan_id = 'birds' GROUP BY ALL"
    ).fetchall()
    assert len(each) == 12
    assert {row[2:] for row in each} == {(3, 3)}
