"""Shares of variance by factor against least squares, on grids with and without interactions."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.heads.factors import factor_shares


def by_least_squares(x: np.ndarray, shape: tuple[int, ...]) -> dict[tuple[int, ...], float]:
    """What each set of factors explains beyond its subsets, by nested regressions."""
    cells = list(product(*(range(n) for n in shape)))
    flat = x.reshape(len(cells), -1)
    flat = flat - flat.mean(axis=0)

    def explained(axes: tuple[int, ...]) -> float:
        values = [tuple(cell[a] for a in axes) for cell in cells]
        known = {value: i for i, value in enumerate(dict.fromkeys(values))}
        design = np.zeros((len(cells), len(known)))
        design[np.arange(len(cells)), [known[value] for value in values]] = 1
        fit = design @ np.linalg.lstsq(design, flat, rcond=None)[0]
        return float((fit**2).sum())

    found: dict[tuple[int, ...], float] = {}
    for size in range(1, len(shape) + 1):
        for axes in combinations(range(len(shape)), size):
            below = sum(value for of, value in found.items() if set(of) < set(axes))
            found[axes] = explained(axes) - below
    total = float((flat**2).sum())
    return {axes: value / total for axes, value in found.items()}


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 9999), shape=st.lists(st.integers(2, 4), min_size=1, max_size=3))
def test_shares_are_those_of_nested_regressions_and_sum_to_one(seed: int, shape: list[int]) -> None:
    x = np.random.default_rng(seed).normal(size=(*shape, 5))
    names = [f"f{axis}" for axis in range(len(shape))]
    found = factor_shares(x, names)
    expected = by_least_squares(x, tuple(shape))
    assert set(found) == {tuple(names[a] for a in axes) for axes in expected}
    for axes, share in expected.items():
        assert found[tuple(names[a] for a in axes)] == pytest.approx(share, abs=1e-10)
    assert sum(found.values()) == pytest.approx(1, abs=1e-10)


def test_what_adds_up_binds_nothing_and_what_does_not_vary_has_no_share() -> None:
    rng = np.random.default_rng(0)
    sums = rng.normal(size=(4, 1, 3)) + rng.normal(size=(1, 5, 3))
    assert factor_shares(sums, ["a", "b"])["a", "b"] == pytest.approx(0, abs=1e-12)
    products = np.array([[1.0, -1.0], [-1.0, 1.0]])[..., None]
    assert factor_shares(products, ["a", "b"]) == {("a",): 0, ("b",): 0, ("a", "b"): 1}
    assert all(np.isnan(v) for v in factor_shares(np.ones((2, 2, 3)), ["a", "b"]).values())
