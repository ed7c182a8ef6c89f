"""The TextSpan kernel: Algorithm 1 in its fast form, for many covariances at once.

With U the picked directions (orthonormal) and P = 1 − U Uᵀ, what Algorithm 1 deflates are P Σ P and
P r_j. Scores then follow from one product of the *original* texts with two vectors per step, and
nothing of the size of texts × d_head is rewritten:

    r'ᵀ Σ' r' = rᵀ Σ r + (u·r)(v·r),     w = P Σ u,     v = (u·w) u − 2 w

How scores are held, and which text is the best, is the business of a `Pursuit`: of heads with texts
of their own, decided in float64 (`pipeline.heads.decided`), or of many covariances over one set of
texts (`Rotated` here), for a null.
"""

from abc import ABC, abstractmethod
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

# A head is finished when this share of its variance is left.
FINISHED: Final = 1e-12
# A text whose remaining squared length fell under this share of it is spanned by earlier picks:
# where texts are float32, and where they are float64.
SPANNED_SINGLE, SPANNED = 1e-5, 1e-10
# Texts that are worked on at once, so that memory is bounded whatever the pool.
_TEXTS: Final = 4096


class Pursuit(ABC):
    """Some covariances, a row each, and the texts that are picked for them.

    Attributes:
        total: the trace of each covariance.
        width: the number of directions, d_head.
    """

    total: Float[np.ndarray, " row"]
    width: int

    @abstractmethod
    def first_scores(self) -> Float32[np.ndarray, "row text"]:
        """Return rᵀ Σ r of every text."""

    @abstractmethod
    def best(
        self,
        score: Float32[np.ndarray, "row text"],
        basis: Float[np.ndarray, "row rank d"],
        going: Bool[np.ndarray, " row"],
    ) -> tuple[Int[np.ndarray, " row"], Float[np.ndarray, "row d"]]:
        """Return each row's next text and its deflated projection; −1 where all are spanned.

        Scores of spanned texts become −∞ for good. Rows that are not `going` are not looked at.
        """

    @abstractmethod
    def apply(self, u: Float[np.ndarray, "row d"]) -> Float[np.ndarray, "row d"]:
        """Return Σ u."""

    @abstractmethod
    def update(
        self,
        score: Float32[np.ndarray, "row text"],
        u: Float[np.ndarray, "row d"],
        v: Float[np.ndarray, "row d"],
    ) -> None:
        """Add (u·r)(v·r) to every score, in place."""


def span(
    pursuit: Pursuit, steps: int
) -> tuple[Int[np.ndarray, "row rank"], Float[np.ndarray, "row rank"]]:
    """Return the texts picked for each covariance, and the variance that each pick removes.

    Where one is finished, or all texts are spanned, picks are −1 and the variance is 0.

    Args:
        pursuit: the covariances and texts.
        steps: picks at most.
    """
    total = pursuit.total
    left, going = total.copy(), total > 0
    score = pursuit.first_scores()
    rows = np.arange(len(total))
    basis = np.zeros((len(total), steps, pursuit.width))
    picks, removed = np.full((len(total), steps), -1), np.zeros((len(total), steps))
    for step in range(steps):
        going &= left > FINISHED * total
        if not going.any():
            break
        best, residual = pursuit.best(score, basis[:, :step], going)
        going &= best >= 0
        u = residual / np.maximum(np.linalg.norm(residual, axis=1, keepdims=True), 1e-300)
        u[~going] = 0
        w = deflate_each(pursuit.apply(u), basis[:, :step], times=1)
        gone = (u * w).sum(axis=1)
        score[rows, best] = -np.inf
        if step + 1 < steps:
            pursuit.update(score, u, gone[:, None] * u - 2 * w)
        basis[:, step] = u
        picks[going, step] = best[going]
        removed[going, step] = np.maximum(gone[going], 0)
        left -= gone
    return picks, removed


class Rotated(Pursuit):
    """Covariances V_a diag(λ_ab) V_aᵀ over one set of texts, in float32.

    Several share their directions V_a, so that the texts are turned once for all of these: first
    scores are Σ_i λ_i (V_aᵀ r)_i².
    """

    def __init__(
        self,
        directions: Float[np.ndarray, "a d d"],
        spectra: Float[np.ndarray, "a b d"],
        r: Float32[np.ndarray, "d text"],
    ) -> None:
        """Take covariances and texts.

        Args:
            directions: V_a, orthonormal columns.
            spectra: λ_ab, not negative.
            r: the texts' projections, one column each.
        """
        self.directions, self.spectra, self.r = directions, spectra, r
        self.width = len(r)
        self.total = spectra.sum(axis=2).reshape(-1)
        self._whole = (r * r).sum(axis=0)

    def first_scores(self) -> Float32[np.ndarray, "row text"]:
        """Return rᵀ Σ r of every text."""
        score = np.empty((*self.spectra.shape[:2], self.r.shape[1]), np.float32)
        for directions, spectra, found in zip(self.directions, self.spectra, score, strict=True):
            along = directions.T.astype(np.float32) @ self.r
            along *= along
            np.matmul(spectra.astype(np.float32), along, out=found)
        return score.reshape(len(self.total), -1)

    def best(
        self,
        score: Float32[np.ndarray, "row text"],
        basis: Float[np.ndarray, "row rank d"],
        going: Bool[np.ndarray, " row"],
    ) -> tuple[Int[np.ndarray, " row"], Float[np.ndarray, "row d"]]:
        """Return each row's text of the highest score, and its deflated projection."""
        rows = np.arange(len(score))
        while True:
            best = score.argmax(axis=1)
            there = score[rows, best] > -np.inf
            residual = deflate_each(self.r[:, best].T.astype(np.float64), basis, times=1)
            spanned = (residual * residual).sum(axis=1) <= SPANNED_SINGLE * self._whole[best]
            spanned &= there & going
            if not spanned.any():
                return np.where(there & going, best, -1), residual
            score[rows[spanned], best[spanned]] = -np.inf

    def apply(self, u: Float[np.ndarray, "row d"]) -> Float[np.ndarray, "row d"]:
        """Return Σ u."""
        along = (u.reshape(self.spectra.shape) @ self.directions) * self.spectra
        found: np.ndarray = along @ self.directions.transpose(0, 2, 1)
        return found.reshape(u.shape)

    def update(
        self,
        score: Float32[np.ndarray, "row text"],
        u: Float[np.ndarray, "row d"],
        v: Float[np.ndarray, "row d"],
    ) -> None:
        """Add (u·r)(v·r) to every score, in place."""
        both = np.concatenate([u, v]).astype(np.float32)
        for start in range(0, self.r.shape[1], _TEXTS):
            some = slice(start, start + _TEXTS)
            along = both @ self.r[:, some]
            along[: len(u)] *= along[len(u) :]
            score[:, some] += along[: len(u)]


def deflate(
    v: Float[np.ndarray, "row d"], basis: Float[np.ndarray, "rank d"]
) -> Float[np.ndarray, "row d"]:
    """Remove the basis' directions from vectors, twice, since once leaves rounding behind."""
    for _ in range(2):
        v = v - (v @ basis.T) @ basis
    return v


def deflate_each(
    v: Float[np.ndarray, "row d"], basis: Float[np.ndarray, "row rank d"], times: int = 2
) -> Float[np.ndarray, "row d"]:
    """Remove from each vector the directions of its own basis; once is enough for float32."""
    for _ in range(times):
        v = v - np.matmul(np.matmul(basis, v[:, :, None]).transpose(0, 2, 1), basis)[:, 0]
    return v
