"""Retrieval by all heads of a role in SQL: against the command, and what it reads."""

from collections.abc import Iterator

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from jobs.commands import nearest
from jobs.commands.nearest import NearestConfig
from schemas.errors import UnknownName
from schemas.results.roles import roles_schema
from tests.cue import CHEAT, HONEST, Planted, plant
from tests.warehouse.database.test_macros import reads
from warehouse.database.publish import publish
from warehouse.database.query import connect
from warehouse.files.layout import Warehouse
from warehouse.results.files import write_result
from warehouse.results.roles import heads_of_role

PLACE = [(0, 1), CHEAT, HONEST]
SHARDS, PICTURES = 2, 400
KEYS = ["00003.png", "00150.png", "00399.png"]
# one role of two words, another that differs from it in case alone
ODD = 'hue "of" o\'clock'


def write_roles(planted: Planted, basis: str, roles: dict[str, list[tuple[int, int]]]) -> None:
    rows = [
        {"layer": layer, "head": head, "role": role, "method": "manual"}
        for role, heads in roles.items()
        for layer, head in heads
    ]
    rows.append({"layer": 0, "head": 0, "role": None, "method": "enrichment"})
    said = {"snapshot": 1, "basis": basis, "created_at": "2026-01-01T00:00:00+00:00"}
    table = pa.Table.from_pylist(rows, schema=roles_schema())
    write_result(planted.scan.roles / f"{basis}.parquet", table, said)


@pytest.fixture(scope="module", params=["L1H2", "role:place"])
def birds(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Return a scan with roles, and some or all of their heads as native vectors."""
    root = tmp_path_factory.mktemp("roles")
    plant(root, "another", pictures=30, seed=4)
    planted = plant(root, pictures=PICTURES)
    write_roles(planted, "words", {"place": PLACE[:2], ODD: [(0, 3)], ODD.upper(): [(2, 3)]})
    write_roles(planted, "texts", {"place": PLACE[1:]})
    publish(Warehouse(root), materialise=[request.param])
    return planted


@pytest.fixture
def con(birds: Planted) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(Warehouse(birds.root)) as opened:
        yield opened


@pytest.mark.parametrize(
    ("role", "metric", "centred"),
    [
        ("place", "cosine", True),
        ("place", "cosine", False),
        ("place", "dot", True),
        ("place", "dot", False),
        (ODD, "cosine", True),
        (ODD.upper(), "cosine", True),
    ],
)
def test_a_role_in_sql_gives_what_the_command_gives(
    birds: Planted, con: duckdb.DuckDBPyConnection, role: str, metric: str, centred: bool
) -> None:
    for key in KEYS[:2]:
        asked = {"query": key, "role": role, "k": 9, "metric": metric, "centred": centred}
        done = nearest.run(NearestConfig.checked({"warehouse": birds.root, **asked}))
        rows = con.execute(
            "SELECT rank, key, score, label, uri FROM nearest_by_role($query, $role, k := $k,"
            " metric := $metric, centred := $centred)",
            asked,
        ).fetchall()
        assert [r[0] for r in rows] == list(range(9))
        assert [r[1] for r in rows] == [n.key for n in done.neighbours]
        assert [r[3:] for r in rows] == [(n.label, n.uri) for n in done.neighbours]
        np.testing.assert_allclose([r[2] for r in rows], [n.score for n in done.neighbours], 1e-4)


@pytest.mark.parametrize(("basis", "heads"), [(None, PLACE), ("words", PLACE[:2])])
def test_a_role_is_its_heads_end_to_end(
    birds: Planted,
    con: duckdb.DuckDBPyConnection,
    basis: str | None,
    heads: list[tuple[int, int]],
) -> None:
    long = np.concatenate(
        [birds.vectors[layer][head].astype(np.float64) for layer, head in heads], axis=1
    )
    long -= long.mean(axis=0)
    scores = long @ long[3] / np.linalg.norm(long, axis=1) / np.linalg.norm(long[3])
    order = [i for i in np.argsort(-scores, kind="stable") if i != 3][:10]
    found = con.execute(
        "SELECT image_id, score FROM nearest_by_role('00003.png', 'place', basis := ?)", [basis]
    ).fetchall()
    assert [i for i, _ in found] == order
    np.testing.assert_allclose([s for _, s in found], scores[order], rtol=1e-4)


def test_many_questions_in_one_statement(con: duckdb.DuckDBPyConnection) -> None:
    found = con.execute(
        "SELECT q.key, n.rank, n.image_id, n.score FROM (SELECT unnest(?) AS key) AS q,"
        " nearest_by_role(q.key, 'place', k := 3) AS n ORDER BY q.key, n.rank",
        [KEYS],
    ).fetchall()
    one_by_one = [
        (key, *row)
        for key in KEYS
        for row in con.execute(
            "SELECT rank, image_id, score FROM nearest_by_role(?, 'place', k := 3)", [key]
        ).fetchall()
    ]
    assert [r[:3] for r in found] == [r[:3] for r in one_by_one]
    np.testing.assert_allclose([r[3] for r in found], [r[3] for r in one_by_one], rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (
            "nearest_by_role('00003.png', 'hue')",
            "no head with role 'hue' in scan 'birds'; there is HUE .*, place",
        ),
        ("nearest_by_role('00003.png', '')", "no head with role '' in scan 'birds'; there is"),
        (
            "nearest_by_role('00003.png', NULL)",
            "no head with role 'NULL' in scan 'birds'; there is",
        ),
        (
            "nearest_by_role('00003.png', 'place', basis := 'x')",
            "no head with role 'place' in scan 'birds' and basis 'x'; there is none yet",
        ),
        (
            "nearest_by_role('00003.png', 'place', scan := 'another')",
            "in scan 'another'; there is none yet: head",
        ),
        ("nearest_by_role('00003.png', 'place', scan := 'x')", "no scan 'x'"),
        ("nearest_by_role('x.png', 'place')", "no picture 'x.png' in scan 'birds'"),
        (
            "nearest_by_role('00003.png', 'place', metric := 'l2')",
            "no metric 'l2'; there is cosine and dot",
        ),
    ],
)
def test_what_does_not_exist_is_said(
    con: duckdb.DuckDBPyConnection, call: str, complaint: str
) -> None:
    with pytest.raises(duckdb.Error, match=complaint):
        con.execute(" ".join(["SELECT count(*) FROM", call])).fetchall()


def test_the_command_lists_the_roles_there_are(birds: Planted) -> None:
    asked = {"warehouse": birds.root, "query": KEYS[0], "role": "x"}
    with pytest.raises(UnknownName, match=r"there is HUE \S+ \S+, hue \S+ \S+, place$"):
        nearest.run(NearestConfig.checked(asked))
    with pytest.raises(UnknownName, match=r"there is HUE \S+ \S+, hue \S+ \S+, place$"):
        heads_of_role(birds.scan, "x")


def test_a_role_by_subquery_is_refused(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(duckdb.BinderException, match="cannot contain subqueries"):
        con.execute("FROM nearest_by_role('00003.png', (SELECT min(role) FROM head_roles))")
    con.execute("SET VARIABLE asked = (SELECT max(role) FROM head_roles)")
    found = con.execute("FROM nearest_by_role('00003.png', getvariable('asked'))")
    assert len(found.fetchall()) == 10


def test_only_the_row_groups_of_its_heads_are_read(
    birds: Planted, con: duckdb.DuckDBPyConnection
) -> None:
    native = con.execute("SELECT DISTINCT layer, head FROM unit_vectors").fetchall()
    stored = [h for h in PLACE if h not in native]
    found = reads(con, "FROM nearest_by_role('00003.png', 'place')")
    whole = [r for r in found if r.rows == PICTURES]
    assert len(whole) == len(stored)
    assert all(r.row_groups in (None, SHARDS) for r in whole)
    assert sum(r.rows for r in found) == (PICTURES + 1) * len(stored)
    raw = reads(con, "FROM nearest_by_role('00003.png', 'place', centred := false)")
    assert sum(r.rows for r in raw) == (PICTURES + 1) * len(PLACE)
