"""The drift of a head against SciPy's matrix square roots."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from pipeline.heads.drift import drift
from pipeline.heads.moments import Moments, joint_moments


def moments(vectors: np.ndarray) -> Moments:
    mean = vectors.mean(axis=0)
    centred = vectors - mean
    return Moments(len(vectors), mean, centred.T @ centred, np.zeros_like(mean), 0.0)


def literal(before: np.ndarray, after: np.ndarray) -> tuple[float, float, float]:
    """Return drift, mean shift and variance ratio by their formulas."""
    c1, c2 = (np.atleast_2d(np.cov(v.T, bias=True)) for v in (before, after))
    root = sqrtm(c1)
    shift = ((before.mean(axis=0) - after.mean(axis=0)) ** 2).sum()
    distance = shift + np.trace(c1 + c2 - 2 * np.real(sqrtm(root @ c2 @ root)))
    total = np.trace(c1)
    return distance / total, float(np.sqrt(shift / total)), np.trace(c2) / total


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), width=st.integers(2, 8), n=st.integers(20, 60))
def test_drift_is_the_literal_frechet_distance(seed: int, width: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    before = rng.standard_normal((n, width)) @ rng.standard_normal((width, width))
    after = 0.5 + rng.standard_normal((n + 7, width)) @ rng.standard_normal((width, width))
    found = drift(moments(before), moments(after))
    expected = literal(before, after)
    assert (found.drift, found.mean_shift, found.variance_ratio) == pytest.approx(
        expected, rel=1e-6, abs=1e-6
    )


def test_what_has_not_moved_has_no_drift_also_of_few_pictures() -> None:
    same = np.random.default_rng(1).standard_normal((4, 9))
    found = drift(moments(same), moments(same))
    assert (found.mean_shift, found.variance_ratio) == (0, 1)
    assert found.drift == pytest.approx(0, abs=1e-12)
    moved = drift(moments(same), moments(same + 3))
    assert moved.mean_shift is not None
    assert moved.drift == pytest.approx(moved.mean_shift**2, rel=1e-12)


def test_what_is_not_kept_or_does_not_vary_is_not_measured() -> None:
    rng = np.random.default_rng(2)
    embedding = np.zeros((10, 6), np.float32)
    before, after = (joint_moments(rng.standard_normal((10, 6)), embedding) for _ in "ab")
    found = drift(before, after)
    assert found.drift is None and found.mean_shift is not None and found.variance_ratio is not None
    still = moments(np.ones((5, 2)))
    assert drift(still, still).drift is None and drift(still, still).mean_shift is None
