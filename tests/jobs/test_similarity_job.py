"""`headatlas similarity` and `similar_heads` against CKA of the stored vectors."""

from pathlib import Path

import numpy as np
import pytest

from jobs.commands import similarity
from jobs.commands.similarity import SimilarityConfig
from jobs.steps import cross_heads
from jobs.steps.opened import open_scan
from schemas.errors import UsageError
from tests.cue import SHAPE, Planted, plant
from tests.pipeline.heads.test_similarity import literal_cka
from tests.store import new_scan, refresh
from warehouse.database.publish import publish
from warehouse.database.query import query
from warehouse.files.layout import Warehouse
from warehouse.results.files import read_result

HEADS = [(layer, head) for layer in SHAPE.layers for head in range(SHAPE.n_heads)]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("similarity"), pictures=90)


def table(done: similarity.SimilarityResult) -> dict[tuple[int, int, int, int], float]:
    rows = read_result(done.path)[0].to_pylist()
    return {(r["layer"], r["head"], r["other_layer"], r["other_head"]): r["cka"] for r in rows}


def literal(planted: Planted, rows: np.ndarray) -> dict[tuple[int, int, int, int], float]:
    vectors = {
        (layer, head): planted.vectors[layer][head][rows].astype(np.float64)
        for layer, head in HEADS
    }
    return {(*a, *b): literal_cka(vectors[a], vectors[b]) for a in HEADS for b in HEADS if a != b}


@pytest.mark.parametrize(("most", "seed"), [(1 << 30, 1), (1, 2)])
def test_every_pair_has_its_literal_cka(
    planted: Planted, most: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when sums of only one pair of layers fit into memory."""
    monkeypatch.setattr(cross_heads, "MOST_BYTES", most)
    done = similarity.run(SimilarityConfig(warehouse=planted.root, seed=seed))
    assert (done.images, done.heads, done.reused) == (90, 12, False)
    found, expected = table(done), literal(planted, np.arange(90))
    assert found.keys() == expected.keys()
    np.testing.assert_allclose(list(found.values()), [expected[k] for k in found], atol=1e-10)
    best = max(expected.values())
    assert done.most[0][2] == pytest.approx(best, abs=1e-10)


def test_a_sample_is_drawn_by_picture_and_kept(planted: Planted) -> None:
    done = similarity.run(SimilarityConfig(warehouse=planted.root, sample=40, seed=3))
    assert done.images == 40
    chosen = similarity.sample(open_scan(Warehouse(planted.root), None), 40, 3)
    starts = np.array([0, 30])
    expected = literal(planted, starts[chosen.shard] + chosen.row)
    found = table(done)
    np.testing.assert_allclose(list(found.values()), [expected[k] for k in found], atol=1e-10)
    assert similarity.run(SimilarityConfig(warehouse=planted.root, sample=40, seed=3)).reused


def test_the_macro_answers_as_the_table(planted: Planted) -> None:
    similarity.run(SimilarityConfig(warehouse=planted.root))
    publish(Warehouse(planted.root))
    expected = literal(planted, np.arange(90))
    mine = {key[2:]: value for key, value in expected.items() if key[:2] == (1, 2)}
    order = sorted(mine, key=lambda key: -mine[key])
    rows = query(
        Warehouse(planted.root), "SELECT layer, head, name, cka FROM similar_heads('L1H2', k := 4)"
    ).to_pylist()
    assert [(row["layer"], row["head"]) for row in rows] == order[:4]
    assert [row["name"] for row in rows] == [f"L{layer}H{head}" for layer, head in order[:4]]
    np.testing.assert_allclose([r["cka"] for r in rows], [mine[k] for k in order[:4]], atol=1e-10)


def test_a_scan_without_pictures_is_refused(tmp_path: Path) -> None:
    scan = new_scan(tmp_path)
    refresh(scan, [])
    with pytest.raises(UsageError, match="holds 0 pictures; heads are compared over two or more"):
        similarity.run(SimilarityConfig(warehouse=tmp_path))
