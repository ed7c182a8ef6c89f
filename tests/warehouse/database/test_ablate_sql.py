"""The ablation macros of the published database, against embeddings recomputed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from jobs.steps.ablated import open_scene
from jobs.steps.logits import store_logits
from jobs.steps.opened import opened
from jobs.steps.whatif import ablate_sets
from schemas.errors import UnknownName
from schemas.kinds import Part
from schemas.names import head_name
from schemas.results import KINDS
from schemas.results.roles import roles_schema
from tests.cue import BIRDS, CHEAT, SHAPE, Planted, plant, recomputed
from warehouse.database.publish import publish
from warehouse.files.layout import Warehouse
from warehouse.results.claims import Now
from warehouse.results.files import write_result
from warehouse.results.roles import heads_of_role
from warehouse.store import snapshots

ALL = [(layer, head) for layer in SHAPE.layers for head in range(SHAPE.n_heads)]


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    root = tmp_path_factory.mktemp("sql")
    plant(root, "another", pictures=30, seed=4)
    planted = plant(root)
    snapshot = snapshots.latest(planted.scan)
    assert snapshot is not None
    store_logits(opened(planted.scan, snapshot), planted.classifier)
    role = {"layer": CHEAT[0], "head": CHEAT[1], "role": "place", "method": "manual"}
    rows = pa.Table.from_pylist([role], schema=roles_schema())
    said = {"snapshot": snapshot.number, "created_at": "2026-01-01T00:00:00+00:00"}
    write_result(planted.scan.roles / "words.parquet", rows, said)
    publish(Warehouse(root))
    return planted


@pytest.fixture
def con(birds: Planted) -> Iterator[duckdb.DuckDBPyConnection]:
    path = Warehouse(birds.root).database.resolve()
    with duckdb.connect(str(path), read_only=True) as opened:
        opened.execute("SET threads = 2")
        yield opened


def names(heads: list[tuple[int, int]]) -> list[str]:
    return [head_name(*h) for h in heads]


@pytest.mark.parametrize("heads", [[], [CHEAT], [(0, 0), (2, 3)], ALL])
def test_ablating_in_sql_is_recomputing_with_means(
    birds: Planted, con: duckdb.DuckDBPyConnection, heads: list[tuple[int, int]]
) -> None:
    rows = con.execute(
        "SELECT image_id, before, after, correct_before, correct_after, logit_before, logit_after, "
        "key, label, truth FROM ablate('kinds', $heads, scan := 'birds') ORDER BY image_id",
        {"heads": names(heads)},
    ).fetchnumpy()
    weights = birds.classifier.weights
    before, after = birds.embedding @ weights.T, recomputed(birds, heads) @ weights.T
    np.testing.assert_array_equal(rows["image_id"], np.arange(len(birds.y)))
    np.testing.assert_allclose(rows["logit_before"], before.max(axis=1), atol=1e-5)
    np.testing.assert_allclose(rows["logit_after"], after.max(axis=1), atol=1e-4)
    classes = np.array(BIRDS)
    assert (rows["before"] == classes[before.argmax(axis=1)]).mean() >= 0.999
    assert (rows["after"] == classes[after.argmax(axis=1)]).mean() >= 0.999
    assert (rows["correct_after"] == (after.argmax(axis=1) == birds.y)).mean() >= 0.999
    assert (rows["truth"] == classes[birds.y]).all()
    assert rows["key"][3] == "00003.png"


@pytest.mark.parametrize("heads", [[CHEAT], [(1, 0), (2, 0)]])
def test_groups_in_sql_and_streaming_agree(
    birds: Planted, con: duckdb.DuckDBPyConnection, heads: list[tuple[int, int]]
) -> None:
    rows = con.execute(
        "SELECT kind, members, n, before, after, members_after "
        "FROM group_accuracy('kinds', $heads, by := ['label', 'place'], scan := 'birds')",
        {"heads": names(heads)},
    ).fetchall()
    scene = open_scene(Warehouse(birds.root), "birds", "kinds", ("label", "place"))
    tally = ablate_sets(scene, [heads])
    streamed = [
        ("group", list(r.group), r.n, *map(pytest.approx, r.accuracy), None) for r in tally.rows()
    ]
    mean = [pytest.approx(tally.accuracy(i)) for i in (0, 1)]
    worst = [pytest.approx(tally.worst(i)) for i in (0, 1)]
    named = [list(min(tally.rows(), key=lambda r: (r.accuracy[i], r.group)).group) for i in (0, 1)]
    expected = [
        *streamed,
        ("mean", None, len(birds.y), *mean, None),
        ("worst", named[0], None, *worst, named[1]),
    ]
    assert len(rows) == len(expected)
    for row, want in zip(rows, expected, strict=True):
        assert row == want


def test_one_column_may_be_named_alone(con: duckdb.DuckDBPyConnection) -> None:
    for by in ("'place'", "['place']", "getvariable('asked')"):
        con.execute("SET VARIABLE asked = 'place'")
        rows = con.execute(
            f"SELECT members, n FROM group_accuracy('kinds', ['L1H2'], by := {by})"  # noqa: S608
            " WHERE kind = 'group'"
        ).fetchall()
        assert [members for members, _ in rows] == [["0"], ["1"]], by


def test_heads_may_come_from_a_subquery(birds: Planted, con: duckdb.DuckDBPyConnection) -> None:
    asked = "(SELECT list(name) FROM heads WHERE scan_id = 'birds' AND layer = 1)"
    by_query = con.sql(f"FROM ablate('kinds', {asked}, scan := 'birds') ORDER BY image_id")
    by_name = con.sql(
        "FROM ablate('kinds', ['L1H0', 'L1H1', 'L1H2', 'L1H3'], scan := 'birds') ORDER BY image_id"
    )
    assert by_query.fetchall() == by_name.fetchall()


def test_ablating_a_role_is_ablating_its_heads(con: duckdb.DuckDBPyConnection) -> None:
    by_role = con.sql("FROM ablate_role('kinds', 'place') ORDER BY image_id").fetchall()
    by_name = con.sql("FROM ablate('kinds', ['L1H2']) ORDER BY image_id").fetchall()
    assert by_role == by_name
    (found,) = con.sql("SELECT role_heads('place', 'birds', 'words')").fetchall()
    assert found == (["L1H2"],)


def test_roles_on_disk_are_those_in_sql(birds: Planted) -> None:
    assert heads_of_role(birds.scan, "place") == (CHEAT,)
    assert heads_of_role(birds.scan, "place", "words") == (CHEAT,)
    with pytest.raises(UnknownName, match="there is place"):
        heads_of_role(birds.scan, "colour")
    with pytest.raises(UnknownName, match="none yet"):
        heads_of_role(birds.scan, "place", "other")


def test_parts_in_sql_sum_to_the_logit(birds: Planted, con: duckdb.DuckDBPyConnection) -> None:
    rows = con.sql(
        """
        SELECT max(abs(total - logit)), count(*)
        FROM (
            SELECT image_id, class, sum(logit) AS total FROM head_logits
            WHERE scan_id = 'birds' AND classifier = 'kinds' GROUP BY ALL
        )
        JOIN image_logits AS i USING (image_id, class)
        WHERE i.scan_id = 'birds' AND i.classifier = 'kinds'
        """
    ).fetchall()
    off, count = rows[0]
    assert off < 1e-5
    assert count == 2 * len(birds.y)


def test_one_head_of_head_logits_is_that_head(
    birds: Planted, con: duckdb.DuckDBPyConnection
) -> None:
    layer, head = CHEAT
    rows = con.execute(
        "SELECT logit FROM head_logits WHERE scan_id = 'birds' AND layer = ? AND head = ? "
        "AND class = 1 ORDER BY image_id",
        [layer, head],
    ).fetchnumpy()
    q = birds.frames.q[SHAPE.layers.index(layer), head]
    expected = birds.vectors[layer][head].astype(np.float64) @ q.T @ birds.classifier.weights[1]
    np.testing.assert_allclose(rows["logit"], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("ablate('kinds', ['L9H9'], scan := 'birds')", "no head 'L9H9' in scan 'birds'"),
        ("ablate('kinds', ['x; DROP TABLE heads'], scan := 'birds')", "no head 'x; DROP"),
        ("ablate('kinds', NULL, scan := 'birds')", "no list of heads"),
        ("ablate('types', ['L1H2'], scan := 'birds')", "there is kinds"),
        ("ablate('kinds', ['L1H2'], scan := 'another')", "scan 'birds' has it"),
        ("ablate('kinds', ['L1H2'], scan := 'nope')", "no scan 'nope'"),
        (
            "group_accuracy('kinds', ['L1H2'], by := ['colour'], scan := 'birds')",
            "column 'colour'; there is label, y, place, split",
        ),
        ("ablate_role('kinds', 'colour')", "no head with role 'colour' in scan 'birds'; there is"),
        ("ablate_role('types', 'place')", "there is kinds"),
        ("group_accuracy('types', ['L1H2'], scan := 'birds')", "there is kinds"),
        ("group_accuracy('kinds', ['L9H9'], scan := 'birds')", "no head 'L9H9'"),
    ],
)
def test_wrong_questions_say_what_exists(
    con: duckdb.DuckDBPyConnection, question: str, words: str
) -> None:
    with pytest.raises(duckdb.Error) as caught:
        con.execute(f"SELECT count(*) FROM {question}").fetchall()  # noqa: S608
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_replaced_classifier_is_published_anew(tmp_path: Path) -> None:
    planted = plant(tmp_path, pictures=40)
    warehouse = Warehouse(tmp_path)
    snapshot = snapshots.latest(planted.scan)
    assert snapshot is not None
    found = opened(planted.scan, snapshot)
    now = Now.opened(found)
    claim = now.claim(KINDS["classifiers"], {Part.CLASSES: ["a", "b"], Part.OPTIONS: {}})
    said = {**planted.classifier.provenance, **now.provenance(claim)}
    for _ in range(2):
        store_logits(found, replace(planted.classifier, provenance=said))
        publish(warehouse)
    with duckdb.connect(str(warehouse.database.resolve()), read_only=True) as con:
        counts = con.sql("SELECT count(*), count(DISTINCT image_id) FROM logit_parts").fetchall()
        stale = con.sql("SELECT bool_or(stale) FROM classifiers").fetchall()
    assert counts == [(80, 40)]
    assert stale == [(False,)]
