"""TextSpan, Algorithm 1 of Gandelsman et al. (ICLR 2024), on moments instead of pictures.

The variance over pictures of ⟨c, r⟩ is rᵀ Σ r, so the algorithm needs a head's covariance Σ and the
texts' projections r_j = Qᵀ t_j, never the pictures. Each step picks j* = argmax_j r_jᵀ Σ r_j and
projects u = r_{j*}/‖r_{j*}‖ out of Σ and of every r_j: `pipeline.heads.span`.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Float32, Int
from threadpoolctl import threadpool_limits

from pipeline.heads.span import Exact, span

# One matrix per head: stacked, or a list where the heads' widths differ.
PerHead = Float[np.ndarray, "head _ _"] | Sequence[Float[np.ndarray, "_ _"]]

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
    pool, single = texts.astype(np.float64), texts.astype(np.float32)

    def one(
        sigma: Float[np.ndarray, "d d"], q: Float[np.ndarray, "d_joint d"]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return _span_one(sigma.astype(np.float64), q, pool, single, steps, renormalise)

    found = in_threads(one, covariance, frames_q)
    picks = np.stack([f[0] for f in found]) if found else np.empty((0, steps), np.int64)
    variance = np.stack([f[1] for f in found]) if found else np.empty((0, steps))
    total = np.array([np.trace(sigma) for sigma in covariance])
    explained = variance / np.where(total > 0, total, 1)[:, None]
    ceiling = pca_ceiling(covariance, steps)
    return Basis(picks, variance, explained, ceiling, tuple(f[2] for f in found))


def in_threads(one: Callable[..., Found], *heads: Iterable[Any]) -> list[Found]:
    """Return `one` of each head: a head is a chain of small products, so heads run side by side."""
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(one, *heads))


def _span_one(
    sigma: Float[np.ndarray, "d d"],
    q: Float[np.ndarray, "d_joint d"],
    pool: Float[np.ndarray, "text d_joint"],
    single: Float32[np.ndarray, "text d_joint"],
    steps: int,
    renormalise: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return one head's picks, the variance that each removes, and the picks' projections."""
    q = np.ascontiguousarray(q, np.float64)
    r = q.astype(np.float32).T @ single.T
    length = np.sqrt((r * r).sum(axis=0))
    here = np.where(length > 0, length, 1)
    if renormalise:
        r /= here
    weight = np.sqrt((single * single).sum(axis=1)) / here
    weight *= 1 if renormalise else length * length

    def project(at: Int[np.ndarray, " k"] | slice) -> Float[np.ndarray, "k d"]:
        found: np.ndarray = pool[at] @ q
        if renormalise:
            norm = np.linalg.norm(found, axis=1, keepdims=True)
            found /= np.where(norm > 0, norm, 1)
        return found

    picks, removed = span(sigma[None], r, steps, Exact(sigma, project, weight))
    vectors = np.zeros((steps, len(sigma)))
    chosen = picks[0] >= 0
    vectors[chosen] = project(picks[0, chosen])
    return picks[0], removed[0], vectors


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
