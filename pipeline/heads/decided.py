"""Heads with texts of their own: scores in float32, which text is next decided in float64.

The products with all texts are in float32; every score has a bound of its error. Among the texts
that the bounds cannot tell apart the next is chosen by its score in float64, so that picks are
those of the literal algorithm in float64. Heads go side by side, a few at a time, so that what is
done once a step is done for all of them.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from pipeline.heads.span import SPANNED, Pursuit, deflate, deflate_each

_ROUNDING: Final = 16 * float(np.finfo(np.float32).eps)
# Texts of a head that are decided among in float64; with more, all scores are made anew.
_MANY: Final = 64


class Decided(Pursuit):
    """Some heads of one width, each with the projections of its own.

    Attributes:
        slack: of each head, bounds of a score's error per `weight`: that of sums, which grows with
            every step, and that of the texts' projections, which falls with what is left of Σ.
    """

    def __init__(
        self,
        sigma: Float[np.ndarray, "head d d"],
        frames_q: Sequence[Float[np.ndarray, "d_joint d"]],
        pool: Float[np.ndarray, "text d_joint"],
        single: Float32[np.ndarray, "d_joint text"],
        *,
        renormalise: bool,
    ) -> None:
        """Project the texts into every head's frame.

        Args:
            sigma: the heads' covariances, float64.
            frames_q: their frames, float64.
            pool: the texts, float64.
            single: the texts, float32, one column each.
            renormalise: make the projections unit-norm.
        """
        self.sigma, self.pool = sigma, pool
        # one direction a row: read twice as fast for one text
        self._frames = np.stack([np.ascontiguousarray(q.T, np.float64) for q in frames_q])
        self.renormalise = renormalise
        self.width = sigma.shape[1]
        self.total = np.trace(sigma, axis1=1, axis2=2)
        stacked = self._frames.astype(np.float32).reshape(-1, pool.shape[1])
        self.r = (stacked @ single).reshape(len(sigma), self.width, -1)
        self._products = np.empty((2, len(sigma), 1, self.r.shape[2]), np.float32)
        length = np.sqrt([(r * r).sum(axis=0) for r in self.r])
        here = np.where(length > 0, length, 1)
        if renormalise:
            self.r /= here[:, None]
        # ‖r‖², and that times how much larger the text is than its projection
        squares = np.ones_like(length) if renormalise else length * length
        larger = np.sqrt((single * single).sum(axis=0)) / here
        self.weight = np.stack([squares, squares * larger], axis=1)
        self._heaviest = self.weight.max(axis=2, initial=0)
        self._size = np.linalg.norm(sigma, axis=(1, 2))
        self._left = self._size**2
        self.slack = _ROUNDING * np.stack([self._size, self._size], axis=1)

    def first_scores(self) -> Float32[np.ndarray, "head text"]:
        """Return rᵀ Σ r of every text."""
        return np.stack([self._scores_of(h, sigma) for h, sigma in enumerate(self.sigma)])

    def _scores_of(
        self, head: int, sigma: Float[np.ndarray, "d d"]
    ) -> Float32[np.ndarray, " text"]:
        along = sigma.astype(np.float32) @ self.r[head]
        along *= self.r[head]
        found: np.ndarray = along.sum(axis=0)
        return found

    def project(self, head: int, texts: int | Int[np.ndarray, " k"]) -> Float[np.ndarray, "*k d"]:
        """Return a text's projection in float64, or those of some."""
        return self._scaled(self.pool[texts] @ self._frames[head].T)

    def _scaled(self, projected: Float[np.ndarray, "*k d"]) -> Float[np.ndarray, "*k d"]:
        if self.renormalise:
            norm = np.linalg.norm(projected, axis=-1, keepdims=True)
            projected /= np.where(norm > 0, norm, 1)
        return projected

    def best(
        self,
        score: Float32[np.ndarray, "head text"],
        basis: Float[np.ndarray, "head rank d"],
        going: Bool[np.ndarray, " head"],
    ) -> tuple[Int[np.ndarray, " head"], Float[np.ndarray, "head d"]]:
        """Return each head's next text and its deflated projection; −1 where all are spanned."""
        best, residual = np.full(len(score), -1), np.zeros((len(score), self.width))
        top, alone = self._lead(score)
        certain = going & alone
        whole = self._scaled(np.matmul(self._frames, self.pool[top][:, :, None])[:, :, 0])
        left = deflate_each(whole, basis)
        certain &= ~_spanned(left, whole)
        best[certain], residual[certain] = top[certain], left[certain]
        for head in np.flatnonzero(going & (best < 0)).tolist():
            best[head], residual[head] = self._decide(head, score[head], basis[head])
        return best, residual

    def _lead(
        self, score: Float32[np.ndarray, "head text"]
    ) -> tuple[Int[np.ndarray, " head"], Bool[np.ndarray, " head"]]:
        """Return each head's text of the highest score, and whether no other can reach it."""
        heads = np.arange(len(score))
        top = score.argmax(axis=1)
        highest = score[heads, top]
        score[heads, top] = -np.inf
        second = score.max(axis=1)
        score[heads, top] = highest
        # no text's bound is larger than the heaviest's
        bound = (self.slack * (self.weight[heads, :, top] + self._heaviest)).sum(axis=1)
        return top, second < highest - bound

    def _decide(
        self,
        head: int,
        score: Float32[np.ndarray, " text"],
        basis: Float[np.ndarray, "rank d"],
    ) -> tuple[int, Float[np.ndarray, " d"]]:
        """Return one head's next text by float64, and its deflated projection."""
        while True:
            close = self._close(head, score)
            if len(close) > _MANY:
                self._refresh(head, score, basis)
                close = self._close(head, score)
            if not len(close):
                return -1, np.zeros(self.width)
            whole = self.project(head, close)
            left = deflate(whole, basis)
            spanned = _spanned(left, whole)
            if not spanned.any():
                at = int((((left @ self.sigma[head]) * left).sum(axis=1)).argmax())
                return int(close[at]), left[at]
            # without these others may be as high
            score[close[spanned]] = -np.inf

    def _close(self, head: int, score: Float32[np.ndarray, " text"]) -> Int[np.ndarray, " k"]:
        """Return the texts that may have the highest score; none when all are spanned."""
        top = score.argmax()
        if score[top] == -np.inf:
            return np.empty(0, np.int64)
        bound = self.slack[head] @ self.weight[head]
        return np.flatnonzero(score + bound >= score[top] - bound[top])

    def _refresh(
        self,
        head: int,
        score: Float32[np.ndarray, " text"],
        basis: Float[np.ndarray, "rank d"],
    ) -> None:
        """Make the scores anew of what is left of Σ, by whose norm their error is then bounded."""
        left = deflate(deflate(self.sigma[head], basis).T, basis)
        score[score > -np.inf] = self._scores_of(head, left)[score > -np.inf]
        size = float(np.linalg.norm(left))
        self._left[head] = size * size
        self.slack[head] = _ROUNDING * size

    def apply(self, u: Float[np.ndarray, "head d"]) -> Float[np.ndarray, "head d"]:
        """Return Σ u."""
        found: np.ndarray = np.matmul(self.sigma, u[:, :, None])[:, :, 0]
        return found

    def update(
        self,
        score: Float32[np.ndarray, "head text"],
        u: Float[np.ndarray, "head d"],
        v: Float[np.ndarray, "head d"],
    ) -> None:
        """Add (u·r)(v·r) to every score, in place, and count its rounding."""
        # few calls, each of all heads: threads that go side by side take turns between calls
        along = np.matmul(u.astype(np.float32)[:, None], self.r, out=self._products[0])
        along *= np.matmul(v.astype(np.float32)[:, None], self.r, out=self._products[1])
        score += along[:, 0]
        self.slack[:, 0] += _ROUNDING * np.linalg.norm(v, axis=1)
        # ‖P Σ P‖² = ‖Σ‖² − 2 ‖Σ u‖² + (uᵀ Σ u)², as far as float64 tells it from nothing
        gone = -(u * v).sum(axis=1, keepdims=True)
        w = (gone * u - v) / 2
        self._left += (gone * gone)[:, 0] - 2 * (w * w).sum(axis=1)
        self.slack[:, 1] = _ROUNDING * (np.sqrt(np.maximum(self._left, 0)) + 1e-7 * self._size)


def _spanned(
    left: Float[np.ndarray, "k d"], whole: Float[np.ndarray, "k d"]
) -> Bool[np.ndarray, " k"]:
    """Whether texts' deflated projections are nothing but what rounding has left of them."""
    found: np.ndarray = (left * left).sum(axis=1) <= SPANNED * (whole * whole).sum(axis=1)
    return found
