"""CKA of heads against its literal definition, and its null against permutations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.heads.similarity import (
    chance,
    cka,
    joined,
    no_sums,
    p_values,
    side_by_side,
    spectra,
    squared_norms,
)


def literal_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Return CKA by Gram matrices over pictures: tr(K H L H) / ..., as it is defined."""
    k, other = ((v - v.mean(axis=0)) @ (v - v.mean(axis=0)).T for v in (x, y))
    return float((k * other).sum() / np.sqrt((k * k).sum() * (other * other).sum()))


def measured(a: np.ndarray, b: np.ndarray, cuts: list[int]) -> np.ndarray:
    """Return the CKA of stacks [head, picture, d], summed over pieces of the pictures."""
    shift_a, shift_b = a[:, :3].mean(axis=1), b[:, :3].mean(axis=1)
    sums = no_sums(shift_a.size, shift_b.size)
    for some in np.split(np.arange(a.shape[1]), cuts):
        sums = sums.add(side_by_side(a[:, some], shift_a), side_by_side(b[:, some], shift_b))
    norms = squared_norms(sums.covariance, len(a), len(b))
    return cka(norms, *(spectra(covariances(v)) for v in (a, b)))


def covariances(vectors: np.ndarray) -> np.ndarray:
    centred = vectors - vectors.mean(axis=1, keepdims=True)
    return centred.transpose(0, 2, 1) @ centred / vectors.shape[1]


def drawn(seed: int, n: int, heads: int, width: int, shared: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixed = shared @ rng.standard_normal((heads, shared.shape[1], width))
    return 7 + mixed + rng.standard_normal((heads, n, width))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(5, 60),
    widths=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    cuts=st.lists(st.integers(0, 60), max_size=3).map(sorted),
)
def test_cka_is_the_literal_one_however_pictures_are_split(
    seed: int, n: int, widths: tuple[int, int], cuts: list[int]
) -> None:
    shared = np.random.default_rng(seed).standard_normal((n, 3))
    a = drawn(seed + 1, n, 3, widths[0], shared)
    b = drawn(seed + 2, n, 2, widths[1], shared)
    expected = [[literal_cka(x, y) for y in b] for x in a]
    np.testing.assert_allclose(measured(a, b, [min(c, n) for c in cuts]), expected, atol=1e-10)


def test_a_head_turned_and_scaled_is_the_same_head() -> None:
    rng = np.random.default_rng(3)
    a = rng.standard_normal((2, 40, 5))
    turn = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    b = 3 * (a + 1) @ turn
    found = measured(a, b, [])
    np.testing.assert_allclose(np.diagonal(found), 1, atol=1e-12)
    assert found[0, 1] < 0.9


def test_a_head_that_does_not_vary_has_no_cka() -> None:
    a = np.ones((2, 20, 3))
    a[1] = np.random.default_rng(0).standard_normal((20, 3))
    found = measured(a, a, [10])
    assert np.isnan(found[0]).all() and np.isnan(found[1, 0]) and found[1, 1] == pytest.approx(1)
    own = spectra(covariances(a))
    assert p_values(np.ones((2, 2)), own, own, 20)[0].tolist() == [1, 1]


def test_the_null_is_that_of_permuted_pictures() -> None:
    n, rng = 200, np.random.default_rng(11)
    shared = rng.standard_normal((n, 2))
    a = drawn(1, n, 1, 6, shared) * np.array([4, 2, 1, 1, 0.5, 0.1])
    b = drawn(2, n, 2, 4, shared * 0.1)
    own, others = spectra(covariances(a)), spectra(covariances(b))
    null = np.empty((4_000, 2))
    for draw in null:
        moved = b[:, rng.permutation(n)]
        centred = [v - v.mean(axis=1, keepdims=True) for v in (a, moved)]
        draw[:] = [((centred[0][0].T @ y / n) ** 2).sum() for y in centred[1]]
    expected = null.mean(axis=0) / np.sqrt(own.second * others.second)
    np.testing.assert_allclose(chance(own, others, n)[0], expected, rtol=0.03)
    for level in (0.5, 0.1, 0.02):
        value = np.quantile(null, 1 - level, axis=0)[None]
        np.testing.assert_allclose(p_values(value, own, others, n)[0], level, rtol=0.25)
    # heads of one width or another stand in one list
    both = joined([own, others])
    assert both.first.shape == (3,) and both.take(slice(1, 3)).third.shape == (2,)
