"""Any text of a pool, asked of any head in SQL: against frames and moments, literally."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pytest

from jobs.steps.opened import Opened, open_scan
from schemas.names import head_name
from tests.cue import SHAPE, plant
from tests.synthetic import write_basis, write_texts
from warehouse.database.publish import publish
from warehouse.database.query import connect
from warehouse.files.layout import Warehouse
from warehouse.store.frame_table import keep_frames
from warehouse.store.pools import EmbeddedBy, write_embeddings
from warehouse.store.reading import read_head

HEAD = (2, 0)


@dataclass(frozen=True)
class Asked:
    """A published warehouse of one scan, opened, and its pool's texts with their embeddings."""

    warehouse: Warehouse
    opened: Opened
    texts: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    root = tmp_path_factory.mktemp("asked")
    planted = plant(root, pictures=60)
    texts, record = write_texts(root), planted.scan.load_record()
    write_basis(planted.scan, texts)
    drawn = np.random.default_rng(2).standard_normal((len(texts), SHAPE.d_joint))
    drawn = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    warehouse = Warehouse(root)
    by = EmbeddedBy(record.model.weights_sha256, record.precision)
    write_embeddings(warehouse, "words", by, drawn)
    keep_frames(planted.scan, record.frames_sha256, planted.frames.narrow())
    opened = open_scan(warehouse, "birds")
    assert opened.moments  # merged, as a scan does when it commits
    publish(warehouse)
    return Asked(warehouse, opened, dict(zip(texts, drawn.astype(np.float64), strict=True)))


@pytest.fixture
def opened(asked: Asked) -> Opened:
    return asked.opened


@pytest.fixture
def texts(asked: Asked) -> dict[str, np.ndarray]:
    return asked.texts


@pytest.fixture
def con(asked: Asked) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(asked.warehouse) as connection:
        yield connection


def not_in_its_basis(con: duckdb.DuckDBPyConnection, texts: dict[str, np.ndarray]) -> list[str]:
    named = con.execute("SELECT text FROM head_texts(?)", [head_name(*HEAD)]).fetchall()
    left = sorted(set(texts) - {text for (text,) in named})
    assert left
    return left


def test_frames_and_vectors_are_those_of_the_scan(
    con: duckdb.DuckDBPyConnection, opened: Opened, texts: dict[str, np.ndarray]
) -> None:
    rows = con.execute(
        "SELECT vector FROM head_frames WHERE layer = ? AND head = ? ORDER BY direction", [*HEAD]
    ).fetchall()
    np.testing.assert_allclose([v for (v,) in rows], opened.frame(*HEAD).T, atol=1e-7)
    found = con.execute("SELECT text, embedding FROM description_vectors").fetchall()
    assert {text for text, _ in found} == set(texts)
    for text, vector in found:
        np.testing.assert_allclose(vector, texts[text], atol=1e-6)


def test_covariances_are_those_of_the_moments(
    con: duckdb.DuckDBPyConnection, opened: Opened
) -> None:
    for head in opened.heads:
        rows = con.execute(
            "SELECT covariance FROM head_covariances WHERE layer = ? AND head = ?"
            " ORDER BY direction",
            [*head],
        ).fetchall()
        np.testing.assert_allclose([c for (c,) in rows], opened.covariance(*head), rtol=1e-6)


def test_a_text_of_no_basis_finds_the_pictures_furthest_along_it(
    con: duckdb.DuckDBPyConnection, opened: Opened, texts: dict[str, np.ndarray]
) -> None:
    ids, vectors = read_head(opened.scan, opened.shards, *HEAD)
    rows = vectors.astype(np.float64)
    rows -= rows.mean(axis=0)
    for text in not_in_its_basis(con, texts):
        # the whole contribution in the joint space, times the text: no projection of the text
        scores = (rows @ opened.frame(*HEAD).T) @ texts[text]
        order = np.argsort(-scores, kind="stable")[:5]
        found = con.execute(
            "SELECT image_id, score FROM nearest_by_text(?, ?, k := 5)", [text, head_name(*HEAD)]
        ).fetchall()
        assert [i for i, _ in found] == ids[order].tolist()
        np.testing.assert_allclose([s for _, s in found], scores[order], rtol=1e-4)
        spread = con.execute(
            "SELECT score FROM text_deciles(?, ?)", [text, head_name(*HEAD)]
        ).fetchall()
        middles = np.ceil(len(scores) * (np.arange(10) + 0.5) / 10).astype(int) - 1
        np.testing.assert_allclose(
            [s for (s,) in spread], np.sort(scores)[middles], atol=1e-6, rtol=1e-4
        )


def test_a_vector_and_its_text_find_the_same(
    con: duckdb.DuckDBPyConnection, texts: dict[str, np.ndarray]
) -> None:
    text, name = not_in_its_basis(con, texts)[0], head_name(*HEAD)
    for metric in ("dot", "cosine"):
        for centred in (True, False):
            by_text, by_vector = (
                con.execute(
                    f"FROM {macro}(?, ?, metric := ?, centred := ?)",
                    [asked, name, metric, centred],
                ).fetchall()
                for macro, asked in (
                    ("nearest_by_text", text),
                    ("nearest_by_vector", texts[text].tolist()),
                )
            )
            assert [r[1] for r in by_text] == [r[1] for r in by_vector]
            np.testing.assert_allclose([r[3] for r in by_text], [r[3] for r in by_vector], 1e-5)


def test_heads_by_text_are_those_of_the_most_variance_along_it(
    con: duckdb.DuckDBPyConnection, opened: Opened, texts: dict[str, np.ndarray]
) -> None:
    for text, vector in texts.items():
        expected = {}
        for head in opened.heads:
            r, covariance = opened.frame(*head).T @ vector, opened.covariance(*head)
            along = float(r @ covariance @ r)
            expected[head_name(*head)] = along, along / (r @ r) / np.trace(covariance)
        order = sorted(expected, key=lambda name: -expected[name][0])
        found = con.execute(
            "SELECT rank, name, variance, explained FROM heads_by_text(?, k := 20)", [text]
        ).fetchall()
        assert [(rank, name) for rank, name, *_ in found] == list(enumerate(order))
        np.testing.assert_allclose(
            [row[2:] for row in found], [expected[name] for name in order], rtol=1e-4
        )
        by_vector = con.execute("SELECT name FROM heads_by_vector(?, k := 3)", [vector.tolist()])
        assert [name for (name,) in by_vector.fetchall()] == order[:3]


def test_many_texts_in_one_statement(
    con: duckdb.DuckDBPyConnection, texts: dict[str, np.ndarray]
) -> None:
    some = sorted(texts)[:3]
    found = con.execute(
        "SELECT q.text, n.key FROM (SELECT unnest(?) AS text) AS q,"
        " nearest_by_text(q.text, 'L2H1', k := 1) AS n ORDER BY ALL",
        [some],
    ).fetchall()
    one_by_one = [
        (text, key)
        for text in some
        for (key,) in con.execute(
            "SELECT key FROM nearest_by_text(?, 'L2H1', k := 1)", [text]
        ).fetchall()
    ]
    assert found == one_by_one


def test_a_scan_without_its_frames_for_sql_still_has_its_own_texts(
    asked: Asked, tmp_path: Path
) -> None:
    root = tmp_path / "w"
    shutil.copytree(asked.warehouse.root, root, symlinks=True)
    scan = Warehouse(root).scan("birds")
    scan.frame_table(asked.opened.record.frames_sha256).unlink()
    publish(Warehouse(root))
    with connect(Warehouse(root)) as con:
        assert con.execute("FROM nearest_by_text('text 1', 'L2H1')").fetchall()
        assert con.execute("FROM head_frames").fetchall() == []
        with pytest.raises(duckdb.Error, match="has no head frames yet: run its scan again"):
            con.execute("FROM heads_by_text('text 1')").fetchall()
