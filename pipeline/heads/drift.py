"""How far a head's distribution has moved between two sets of pictures, from moments alone.

Two snapshots need not share a picture, so heads cannot be correlated over them. What can be
compared are means and covariances: the squared Fréchet distance of two Gaussians (Dowson and
Landau 1982; FID is the same on another network's features)

    d² = ‖m₁ − m₂‖² + tr(C₁ + C₂ − 2 (C₁^½ C₂ C₁^½)^½)

here over tr C₁, so that 1 is a move as large as the head's own spread.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pipeline.heads.moments import Moments


@dataclass(frozen=True)
class Drift:
    """How far one head has moved.

    Attributes:
        drift: d² / tr C₁; None where only the trace of a covariance is kept.
        mean_shift: ‖m₁ − m₂‖ / (tr C₁)^½.
        variance_ratio: tr C₂ / tr C₁.
    """

    drift: float | None
    mean_shift: float | None
    variance_ratio: float | None


def drift(before: Moments, after: Moments) -> Drift:
    """Return how far a head has moved; nothing but None where it did not vary before."""
    variance = before.variance
    if variance <= 0:
        return Drift(None, None, None)
    shift = float(np.sum((after.mean - before.mean) ** 2))
    distance = None
    if not before.traced:
        spread = before.variance + after.variance - 2 * overlap(before.covariance, after.covariance)
        # exact arithmetic has no negative ones
        distance = (shift + max(spread, 0.0)) / variance
    return Drift(distance, (shift / variance) ** 0.5, after.variance / variance)


def overlap(one: Float[np.ndarray, "d d"], other: Float[np.ndarray, "d d"]) -> float:
    """Return tr (C₁^½ C₂ C₁^½)^½, as the sum of singular values of C₁^½ C₂^½."""
    return float(np.linalg.svd(_root(one).T @ _root(other), compute_uv=False).sum())


def _root(covariance: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
    """Return A with A Aᵀ = C."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.clip(values, 0, None))
