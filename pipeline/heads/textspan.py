"""TextSpan, Algorithm 1 of Gandelsman et al. (ICLR 2024), on moments instead of pictures.

The variance over pictures of ⟨c, r⟩ is rᵀ Σ r, so the algorithm needs a head's covariance Σ and the
texts' projections r_j = Qᵀ t_j, never the pictures. Each step picks j* = argmax_j r_jᵀ Σ r_j and
projects u = r_{j*}/‖r_{j*}‖ out of Σ and of every r_j: `pipeline.heads.span`, whose picks are those
of float64: `pipeline.heads.decided`.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
from jaxtyping import Float, Int
from threadpoolctl import threadpool_limits

from pipeline.heads.decided import Decided
from pipeline.heads.span import span

# One matrix per head: stacked, or a list where the heads' widths differ.
PerHead = Float[np.ndarray, "head _ _"] | Sequence[Float[np.ndarray, "_ _"]]

# Heads that go side by side: what is done once a step is done for all; their texts fit a cache.
_TOGETHER: Final = 8

Found = TypeVar("Found")


@dataclass(frozen=True)
class Basis:
    """The texts picked for a stack of heads; where a head ran out, index −1 and zeros.

    Attributes:
        picks: index of the picked text.
        variance: variance over pictures that the pick removes, uᵀ Σ u.
        explained: the same as a share of the head's total variance.
        pca_cumulative: share explained by as many principal directions: the ceiling.
        vectors: Qᵀ t of the picked texts, not deflated.
    """

    picks: Int[np.ndarray, "head rank"]
    variance: Float[np.ndarray, "head rank"]
    explained: Float[np.ndarray, "head rank"]
    pca_cumulative: Float[np.ndarray, "head rank"]
    vectors: tuple[Float[np.ndarray, "rank _"], ...]

    @property
    def cumulative(self) -> Float[np.ndarray, "head rank"]:
        """Share explained by each pick and all before it."""
        return np.cumsum(self.explained, axis=1)


def textspan(
    covariance: PerHead,
    frames_q: PerHead,
    texts: Float[np.ndarray, "text d_joint"],
    steps: int,
    *,
    renormalise: bool = False,
) -> Basis:
    """Pick up to `steps` texts per head that span its contributions.

    Args:
        covariance: of each head's vectors, d_head × d_head, float64; d_head may differ.
        frames_q: each head's frame, d_joint × d_head.
        texts: unit-norm text embeddings.
        steps: m of the paper; never more than d_head directions are found.
        renormalise: make the projections Qᵀ t unit-norm first. Off as in the paper, which favours
            texts that lie in the head's span. On, a pick maximises dᵀ P Σ P d of unit atoms d, with
            P what earlier picks leave: simultaneous orthogonal matching pursuit (SOMP; Tropp,
            Gilbert and Strauss 2006; on heads Head Pursuit, arXiv 2510.21518).

    Does not centre or whiten the texts.
    """
    steps = min(steps, max((len(sigma) for sigma in covariance), default=0), len(texts))
    pool, single = texts.astype(np.float64), np.ascontiguousarray(texts.T, np.float32)
    picks = np.full((len(covariance), steps), -1)
    variance, ceiling = np.zeros((2, len(covariance), steps))
    vectors = [np.zeros((steps, len(sigma))) for sigma in covariance]

    def some(heads: Sequence[int]) -> None:
        sigma = np.stack([covariance[head] for head in heads]).astype(np.float64)
        ceiling[heads] = pca_ceiling(sigma, steps)
        q = [frames_q[head] for head in heads]
        decided = Decided(sigma, q, pool, single, renormalise=renormalise)
        picks[heads], variance[heads] = span(decided, steps)
        for at, head in enumerate(heads):
            chosen = picks[head] >= 0
            vectors[head][chosen] = decided.project(at, picks[head, chosen])

    in_threads(some, _alike([len(sigma) for sigma in covariance]))
    total = np.array([np.trace(sigma) for sigma in covariance])
    explained = variance / np.where(total > 0, total, 1)[:, None]
    return Basis(picks, variance, explained, ceiling, tuple(vectors))


def _alike(widths: Sequence[int]) -> list[list[int]]:
    """Return the heads in groups of one width, a few in each."""
    found = []
    for width in dict.fromkeys(widths):
        same = [head for head, other in enumerate(widths) if other == width]
        found += [same[at : at + _TOGETHER] for at in range(0, len(same), _TOGETHER)]
    return found


def in_threads(one: Callable[..., Found], *heads: Iterable[Any]) -> list[Found]:
    """Return `one` of each head, or group of them: chains of small products, so side by side."""
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(one, *heads))


def pca_ceiling(covariance: PerHead, steps: int) -> Float[np.ndarray, "head rank"]:
    """Return the share of variance in the first 1, 2, ... principal directions of each head."""
    found = np.ones((len(covariance), steps))
    for head, sigma in enumerate(covariance):
        values = np.clip(np.linalg.eigvalsh(sigma)[::-1], 0, None)
        total = values.sum()
        share = np.cumsum(values)[:steps] / (total if total > 0 else 1)
        found[head, : len(share)] = share
        found[head, len(share) :] = share[-1]
    return found
