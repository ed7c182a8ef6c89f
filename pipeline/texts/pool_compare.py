"""Which pool is good? Every head replaced by its projection onto its basis (paper, section 4.2).

    c'(I) = Q (mean + U Uᵀ (vector − mean))

U orthonormal in the head frame: the first m picks of a pool, or the first m principal directions,
which no pool can beat in explained variance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pipeline.heads.textspan import Basis, PerHead

PCA = "PCA"


@dataclass(frozen=True)
class Point:
    """One pool at one m.

    Attributes:
        pool: its name, or PCA.
        m: directions per head.
        explained: share of all heads' variance that is kept.
        accuracy: zero-shot, over pictures whose label is a class.
    """

    pool: str
    m: int
    explained: float
    accuracy: float


def spans(basis: Basis) -> list[Float[np.ndarray, "rank _"]]:
    """Return each head's picks made orthonormal, in order; zeros where a head ran out."""
    found = [np.zeros(vectors.shape) for vectors in basis.vectors]
    for head, vectors in enumerate(basis.vectors):
        count = int((basis.picks[head] >= 0).sum())
        if count:
            found[head][:count] = np.linalg.qr(vectors[:count].T)[0].T
    return found


def principal(covariance: PerHead, steps: int) -> list[Float[np.ndarray, "rank _"]]:
    """Return the first principal directions of each head."""
    return [np.linalg.eigh(sigma)[1].T[::-1][:steps] for sigma in covariance]


def kept_variance(covariance: PerHead, directions: PerHead, sizes: Sequence[int]) -> list[float]:
    """Return the share of all heads' variance within the first m directions, for each m."""
    along = [
        np.einsum("ri,ij,rj->r", u, sigma, u)
        for u, sigma in zip(directions, covariance, strict=True)
    ]
    total = float(sum(np.trace(sigma) for sigma in covariance))
    return [float(sum(a[:m].sum() for a in along)) / total if total > 0 else 0.0 for m in sizes]


def lost_logits(
    vectors: Float[np.ndarray, "head image d"],
    means: Float[np.ndarray, "head d"],
    directions: PerHead,
    projected: Float[np.ndarray, "head class d"],
    sizes: Sequence[int],
) -> Float[np.ndarray, "size image class"]:
    """Return what projection takes from each logit: ⟨(1 − U Uᵀ)(vector − mean), Qᵀ w⟩ over heads.

    Args:
        vectors: of some pictures.
        means: over all pictures.
        directions: orthonormal, in order.
        projected: Qᵀ w of the class weights.
        sizes: m, ascending.
    """
    centred = vectors.astype(np.float32) - means[:, None].astype(np.float32)
    u, w = np.stack(list(directions)).astype(np.float32), projected.astype(np.float32)
    whole = np.matmul(centred, w.transpose(0, 2, 1)).sum(axis=0)
    along, weights = np.matmul(centred, u.transpose(0, 2, 1)), np.matmul(u, w.transpose(0, 2, 1))
    found = [
        whole - np.matmul(along[:, :, :m], weights[:, :m]).sum(axis=0, dtype=np.float32)
        for m in sizes
    ]
    return np.stack(found)
