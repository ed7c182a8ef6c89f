"""`outliers_by_head` against Mahalanobis distances in NumPy."""

import numpy as np
import pytest

from jobs.steps.summary import store_heads
from tests.cue import SHAPE, Planted, plant
from warehouse.database.publish import publish
from warehouse.database.query import query
from warehouse.files.layout import Warehouse
from warehouse.store import snapshots

PICTURES = 80


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    planted = plant(tmp_path_factory.mktemp("outliers"), pictures=PICTURES)
    snapshot = snapshots.latest(planted.scan)
    assert snapshot is not None
    store_heads(planted.scan, snapshot)
    publish(Warehouse(planted.root), materialise=["L1H2"])
    return planted


def distances(vectors: np.ndarray) -> np.ndarray:
    """Literally: sqrt((v − mean)ᵀ Σ⁻¹ (v − mean)) of every picture."""
    v = vectors.astype(np.float64)
    centred = v - v.mean(axis=0)
    inverse = np.linalg.inv(centred.T @ centred / len(v))
    return np.sqrt(np.einsum("id,de,ie->i", centred, inverse, centred))


@pytest.mark.parametrize(("layer", "head"), [(1, 2), (0, 1), (2, 3)])
def test_outliers_are_those_of_the_whitened_head(planted: Planted, layer: int, head: int) -> None:
    expected = distances(planted.vectors[layer][head])
    order = np.argsort(-expected, kind="stable")[:7]
    rows = query(
        Warehouse(planted.root),
        f"SELECT rank, image_id, key, distance FROM outliers_by_head('L{layer}H{head}', k := 7)",  # noqa: S608
    ).to_pylist()
    assert [row["rank"] for row in rows] == list(range(7))
    assert [row["image_id"] for row in rows] == order.tolist()
    assert [row["key"] for row in rows] == [f"{i:05d}.png" for i in order]
    np.testing.assert_allclose([row["distance"] for row in rows], expected[order], rtol=1e-5)


def test_directions_give_back_the_covariance(planted: Planted) -> None:
    rows = query(
        Warehouse(planted.root),
        "SELECT variance, vector FROM head_directions WHERE layer = 1 AND head = 2 ORDER BY "
        "direction",
    ).to_pylist()
    values = np.array([row["variance"] for row in rows])
    vectors = np.array([row["vector"] for row in rows])
    expected = np.cov(planted.vectors[1][2].astype(np.float64).T, bias=True)
    assert len(values) == SHAPE.d_head and (np.diff(values) <= 0).all()
    np.testing.assert_allclose(vectors.T * values @ vectors, expected, atol=1e-7)


def test_what_is_squared_sums_to_the_directions(planted: Planted) -> None:
    asked = "SELECT avg(distance ** 2) AS mean FROM outliers_by_head(2, 0, k := 80)"
    (row,) = query(Warehouse(planted.root), asked).to_pylist()
    assert row["mean"] == pytest.approx(SHAPE.d_head, rel=1e-5)
