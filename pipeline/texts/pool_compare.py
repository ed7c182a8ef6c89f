"""Which pool is good? Every head replaced by its projection onto its basis (paper, section 4.2).

    c'(I) = Q (mean + U Uᵀ (vector − mean))

U orthonormal in the head frame: the first m picks of a pool, or the first m principal directions,
which no pool can beat in explained variance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pipeline.heads.textspan import Basis

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


def spans(basis: Basis) -> Float[np.ndarray, "head rank d_head"]:
    """Return each head's picks made orthonormal, in order; zeros where a head ran out."""
    found = np.zeros(basis.vectors.shape)
    for head, vectors in enumerate(basis.vectors):
        count = int((basis.picks[head] >= 0).sum())
        if count:
            found[head, :count] = np.linalg.qr(vectors[:count].T)[0].T
    return found


def principal(
    covariance: Float[np.ndarray, "head d d"], steps: int
) -> Float[np.ndarray, "head rank d"]:
    """Return the first principal directions of each head."""
    vectors = np.linalg.eigh(covariance)[1][:, :, ::-1]
    return np.ascontiguousarray(vectors.transpose(0, 2, 1)[:, :steps])


def kept_variance(
    covariance: Float[np.ndarray, "head d d"],
    directions: Float[np.ndarray, "head rank d"],
    sizes: Sequence[int],
) -> list[float]:
    """Return the share of all heads' variance within the first m directions, for each m."""
    along = np.einsum("hri,hij,hrj->hr", directions, covariance, directions)
    total = float(np.trace(covariance, axis1=1, axis2=2).sum())
    return [float(along[:, :m].sum()) / total if total > 0 else 0.0 for m in sizes]


def lost_logits(
    vectors: Float[np.ndarray, "head image d"],
    means: Float[np.ndarray, "head d"],
    directions: Float[np.ndarray, "head rank d"],
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
    u, w = directions.astype(np.float32), projected.astype(np.float32)
    whole = np.matmul(centred, w.transpose(0, 2, 1)).sum(axis=0)
    along, weights = np.matmul(centred, u.transpose(0, 2, 1)), np.matmul(u, w.transpose(0, 2, 1))
    found = [
        whole - np.matmul(along[:, :, :m], weights[:, :m]).sum(axis=0, dtype=np.float32)
        for m in sizes
    ]
    return np.stack(found)
