"""The false discovery rate of many tests, without `scipy.stats`, which takes a second to import."""

import numpy as np
from jaxtyping import Float


def q_values(p: Float[np.ndarray, "*tests"]) -> Float[np.ndarray, "*tests"]:
    """Return the smallest false discovery rate at which each test is a discovery.

    q_(i) = min over j ≥ i of p_(j) n / j, of n p-values in ascending order (Benjamini and Hochberg,
    1995). Tests may be independent or positively dependent.
    """
    flat = p.ravel()
    descending = np.argsort(flat)[::-1]
    ranks = np.arange(len(flat), 0, -1)
    found = np.empty(len(flat))
    found[descending] = np.minimum.accumulate(flat[descending] * (len(flat) / ranks))
    return np.minimum(found, 1).reshape(p.shape)
