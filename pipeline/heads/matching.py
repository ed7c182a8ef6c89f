"""Which of other heads is most alike to each head, from a table of CKA."""

from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class Matches:
    """The heads that vary, and what each is most like.

    Attributes:
        head: which heads these are.
        best: the most alike of the others.
        p_value: of the best of so many under permutation of the pictures: 1 − (1 − p)^others.
        q_value: p_value after Benjamini-Hochberg.
        mutual: whether the head is the most alike to its best, too.
        assigned: its partner when heads are paired off for the largest sum of CKA; −1: left over.
    """

    head: Int[np.ndarray, " row"]
    best: Int[np.ndarray, " row"]
    p_value: Float[np.ndarray, " row"]
    q_value: Float[np.ndarray, " row"]
    mutual: Bool[np.ndarray, " row"]
    assigned: Int[np.ndarray, " row"]


def matches(
    cka: Float[np.ndarray, "head other"], p_value: Float[np.ndarray, "head other"]
) -> Matches:
    """Match each head to others.

    Args:
        cka: of each pair; NaN where one of them does not vary.
        p_value: of each pair alone.
    """
    there = ~np.isnan(cka)
    head = np.flatnonzero(there.any(axis=1))
    value = np.where(there, cka, -1.0)
    best = value[head].argmax(axis=1)
    mutual = value[:, best].argmax(axis=0) == head
    # log1p(-1) is that of a pair that anything beats
    with np.errstate(divide="ignore"):
        none_so_good = there[head].sum(axis=1) * np.log1p(-p_value[head, best])
    p = -np.expm1(none_so_good)
    q = scipy.stats.false_discovery_control(p) if len(p) else p
    partner = np.full(len(cka), -1)
    rows, columns = scipy.optimize.linear_sum_assignment(-value)
    varies = there[rows, columns]
    partner[rows[varies]] = columns[varies]
    return Matches(head, best, p, q, mutual, partner[head])
