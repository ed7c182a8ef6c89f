"""Heads with texts of their own: scores in float32, which text is next decided in float64.

The products with all texts are in float32; every score has a bound of its error. Among the texts
that the bounds cannot tell apart the next is chosen by its score in float64, so that picks are
those of the literal algorithm in float64. Heads go side by side, a few at a time, so that what is
done once a step is done for all of them.
"""

from collections.abc import Sequence
from copy import copy
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from pipeline.heads.span import SPANNED, Pursuit, deflate, deflate_each

ROUNDING: Final = 16 * float(np.finfo(np.float32).eps)
# Texts of a head that are decided among in float64; with more, all scores are made anew.
_MANY: Final = 64


class Decided(Pursuit):
    """Some heads of one width, each with the projections of its own.

    Attributes:
        r: the texts' projections, one column each.
        texts: which texts of the pool these are.
        weight: ‖r‖² times how much larger the text is than its projection: so rounding grows.
        slack: of each head, the bound of a score's error per `weight`; grows with every step.
        anew: heads whose scores were made anew of what is left of Σ.
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
        self.sigma, self.frames_q, self.pool = sigma, frames_q, pool
        self.renormalise = renormalise
        self.width = sigma.shape[1]
        self.total = np.trace(sigma, axis1=1, axis2=2)
        stacked = np.concatenate([q.astype(np.float32) for q in frames_q], axis=1)
        self.r = (stacked.T @ single).reshape(len(sigma), self.width, -1)
        length = np.sqrt([(r * r).sum(axis=0) for r in self.r])
        here = np.where(length > 0, length, 1)
        if renormalise:
            self.r /= here[:, None]
        self.weight = np.sqrt((single * single).sum(axis=0)) / here
        self.weight *= 1 if renormalise else length * length
        self.slack = ROUNDING * np.linalg.norm(sigma, axis=(1, 2))
        self.heaviest = self.weight.max(axis=1, initial=0)
        self.texts = np.broadcast_to(np.arange(len(pool)), self.weight.shape)
        self.anew = np.zeros(len(sigma), bool)

    def among(self, texts: Int[np.ndarray, "head k"]) -> "Decided":
        """Return the same heads with some of the texts each, ascending."""
        found = copy(self)
        found.r = np.stack([r[:, some] for r, some in zip(self.r, texts, strict=True)])
        found.weight = np.take_along_axis(self.weight, texts, axis=1)
        found.heaviest, found.texts = found.weight.max(axis=1), texts
        found.slack, found.anew = self.slack.copy(), np.zeros(len(texts), bool)
        return found

    def only(self, head: int) -> "Decided":
        """Return one of the heads; what is written into it is written here."""
        found, one = copy(self), slice(head, head + 1)
        for name in ("sigma", "total", "frames_q", "r", "weight", "heaviest", "texts"):
            setattr(found, name, getattr(self, name)[one])
        found.slack, found.anew = self.slack[one], self.anew[one]
        return found

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

    def project(self, head: int, texts: Int[np.ndarray, " k"]) -> Float[np.ndarray, "k d"]:
        """Return some texts' projections in float64."""
        found: np.ndarray = self.pool[self.texts[head, texts]] @ self.frames_q[head]
        if self.renormalise:
            norm = np.linalg.norm(found, axis=1, keepdims=True)
            found /= np.where(norm > 0, norm, 1)
        return found

    def best(
        self,
        score: Float32[np.ndarray, "head text"],
        basis: Float[np.ndarray, "head rank d"],
        going: Bool[np.ndarray, " head"],
    ) -> tuple[Int[np.ndarray, " head"], Float[np.ndarray, "head d"]]:
        """Return each head's next text and its deflated projection; −1 where all are spanned."""
        best, residual = np.full(len(score), -1), np.zeros((len(score), self.width))
        top, count = self._lead(score)
        certain = going & (count == 1)
        whole = np.zeros((len(score), self.width))
        for head in np.flatnonzero(certain).tolist():
            whole[head] = self.project(head, top[head : head + 1])[0]
        left = deflate_each(whole, basis)
        certain &= ~_spanned(left, whole)
        best[certain], residual[certain] = top[certain], left[certain]
        for head in np.flatnonzero(going & (best < 0)).tolist():
            best[head], residual[head] = self._decide(head, score[head], basis[head])
        return best, residual

    def _lead(
        self, score: Float32[np.ndarray, "head text"]
    ) -> tuple[Int[np.ndarray, " head"], Int[np.ndarray, " head"]]:
        """Return each head's text of the highest score, and how many texts may reach it."""
        heads = np.arange(len(score))
        top = score.argmax(axis=1)
        low = score[heads, top] - self.slack * self.weight[heads, top]
        # no text's bound is larger than the heaviest's
        reach = (low - self.slack * self.heaviest).astype(np.float32)
        return top, (score >= reach[:, None]).sum(axis=1)

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
                self.refresh(head, score, basis)
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
        bound = self.slack[head] * self.weight[head]
        return np.flatnonzero(score + bound >= score[top] - bound[top])

    def refresh(
        self,
        head: int,
        score: Float32[np.ndarray, " text"],
        basis: Float[np.ndarray, "rank d"],
    ) -> None:
        """Make the scores anew of what is left of Σ, by whose norm their error is then bounded."""
        left = deflate(deflate(self.sigma[head], basis).T, basis)
        score[score > -np.inf] = self._scores_of(head, left)[score > -np.inf]
        self.slack[head], self.anew[head] = ROUNDING * float(np.linalg.norm(left)), True

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
        for mine, r, along, across in zip(
            score, self.r, u.astype(np.float32), v.astype(np.float32), strict=True
        ):
            change = along @ r
            change *= across @ r
            mine += change
        self.slack += ROUNDING * np.linalg.norm(v, axis=1)


def _spanned(
    left: Float[np.ndarray, "k d"], whole: Float[np.ndarray, "k d"]
) -> Bool[np.ndarray, " k"]:
    """Whether texts' deflated projections are nothing but what rounding has left of them."""
    found: np.ndarray = (left * left).sum(axis=1) <= SPANNED * (whole * whole).sum(axis=1)
    return found
