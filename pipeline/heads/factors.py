"""Which factor of a full grid decides how vectors vary: shares of variance by factor (ANOVA).

Over all combinations of the factors' values, x = mean + Σ_f a_f + Σ_{f<g} a_{fg} + ..., where a_f
is what values of f add on average, a_{fg} what a pair of values adds beyond that, and so on. The
terms are orthogonal, so their squared lengths are shares of the variance that sum to 1. The term of
two factors is what is bound: what neither of them says alone.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float


def factor_shares(
    x: Float[np.ndarray, "*grid d"], names: Sequence[str]
) -> dict[tuple[str, ...], float]:
    """Return the share of the total variance of each factor and each combination of factors.

    Args:
        x: a vector for each combination of values, one axis for each factor.
        names: of the factors, in the order of the axes.

    NaN where nothing varies at all.
    """
    x = x.astype(np.float64)
    centred = x - x.mean(axis=tuple(range(len(names))), keepdims=True)
    total = float((centred**2).sum())
    found: dict[tuple[str, ...], float] = {}
    terms: dict[tuple[int, ...], np.ndarray] = {}
    for axes in _subsets(len(names)):
        others = tuple(axis for axis in range(len(names)) if axis not in axes)
        term = centred.mean(axis=others, keepdims=True) if others else centred
        for smaller, known in terms.items():
            if set(smaller) < set(axes):
                term = term - known
        terms[axes] = term
        repeats = centred.size / term.size
        share = float((term**2).sum()) * repeats / total if total > 0 else float("nan")
        found[tuple(names[axis] for axis in axes)] = share
    return found


def _subsets(n: int) -> Iterator[tuple[int, ...]]:
    for size in range(1, n + 1):
        yield from combinations(range(n), size)
