"""The TextSpan kernel: Algorithm 1 in its fast form, over one set of texts, for many covariances.

With U the picked directions (orthonormal) and P = 1 − U Uᵀ, what Algorithm 1 deflates are P Σ P and
P r_j. Scores and squared lengths then follow from one product of the *original* texts with two
vectors per step, and nothing of the size of texts × d_head is rewritten:

    r'ᵀ Σ' r' = rᵀ Σ r − 2 (u·r)(w·r) + (u·r)² (u·w),   w = P Σ u,     ‖r'‖² = ‖r‖² − (u·r)²

These products are in float32. `Exact` decides in float64 among the texts whose float32 scores the
rounding cannot tell apart, so that its picks are those of the literal algorithm in float64.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float32, Int

# A head is finished when this share of its variance is left.
FINISHED = 1e-12
# A text whose remaining squared length fell under this share of it is spanned by earlier picks.
SPANNED, SPANNED_SINGLE = 1e-10, 1e-5
# From so many covariances on, first scores are one product with the texts' pairs of coordinates.
_PAIRED = 16
# Texts whose pairs are held at once: about as much as a core's cache holds.
_TEXTS = 256
_ROUNDING = 16 * float(np.finfo(np.float32).eps)
# Texts that are decided among in float64; with more, all scores are made anew.
_MANY = 64

Project = Callable[[Int[np.ndarray, " text"] | slice], Float[np.ndarray, "text d"]]


class Exact:
    """Decides in float64 which text of one head is next.

    Attributes:
        slack: bound of a score's error, per `weight`; grows with every step in float32.
    """

    def __init__(
        self,
        sigma: Float[np.ndarray, "d d"],
        project: Project,
        weight: Float[np.ndarray, " text"],
    ) -> None:
        """Take what is exact.

        Args:
            sigma: the head's covariance.
            project: gives the texts' projections r_j in float64.
            weight: ‖r_j‖² times how much larger the text is than its projection, in proportion to
                which rounding grows.
        """
        self.sigma, self.project, self.weight = sigma, project, weight
        self.slack = _ROUNDING * float(np.linalg.norm(sigma))

    def best(
        self, score: Float32[np.ndarray, " text"], basis: Float[np.ndarray, "rank d"]
    ) -> tuple[int, Float[np.ndarray, " d"]]:
        """Return the next text and its deflated projection; −1 when all are spanned.

        Scores of spanned texts become −∞ for good; where too many are close, all are made anew.
        """
        while True:
            top = int(score.argmax())
            if score[top] == -np.inf:
                return -1, np.zeros(len(self.sigma))
            bound = self.slack * self.weight
            close = np.flatnonzero(score + bound >= score[top] - bound[top])
            if len(close) > _MANY:
                close = self._anew(score, basis)
                if not len(close):
                    return -1, np.zeros(len(self.sigma))
            exact, residual, spanned = self._scores(close, basis)
            score[close[spanned]] = -np.inf
            if not spanned.all():
                exact[spanned] = -np.inf
                at = int(exact.argmax())
                return int(close[at]), residual[at]

    def step(self, w: Float[np.ndarray, " d"]) -> None:
        """Count the rounding of an update by w."""
        self.slack += _ROUNDING * float(w @ w) ** 0.5

    def _scores(
        self, texts: Int[np.ndarray, " k"], basis: Float[np.ndarray, "rank d"]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return these texts' scores, deflated projections, and whether they are spanned."""
        whole = self.project(texts)
        residual = deflate(whole, basis)
        spanned = (residual**2).sum(axis=1) <= SPANNED * (whole**2).sum(axis=1)
        return ((residual @ self.sigma) * residual).sum(axis=1), residual, spanned

    def _anew(
        self, score: Float32[np.ndarray, " text"], basis: Float[np.ndarray, "rank d"]
    ) -> Int[np.ndarray, " k"]:
        """Make all scores anew in float64; return the texts that share the highest."""
        open_texts = np.flatnonzero(score > -np.inf)
        exact, _, spanned = self._scores(open_texts, basis)
        exact[spanned] = -np.inf
        score[open_texts] = exact
        left = deflate(deflate(self.sigma, basis).T, basis)
        self.slack = _ROUNDING * float(np.linalg.norm(left))
        return open_texts[exact == exact.max()] if not spanned.all() else np.empty(0, np.int64)


def span(
    sigma: Float[np.ndarray, "draw d d"],
    r: Float32[np.ndarray, "d text"],
    steps: int,
    exact: Exact | None = None,
) -> tuple[Int[np.ndarray, "draw rank"], Float[np.ndarray, "draw rank"]]:
    """Return the texts picked for each covariance, and the variance that each pick removes.

    Where one is finished, or all texts are spanned, picks are −1 and the variance is 0.

    Args:
        sigma: covariances, float64.
        r: the texts' projections, one column each.
        steps: picks at most.
        exact: decides in float64; for one covariance only.
    """
    draws, width = len(sigma), len(r)
    total = np.trace(sigma, axis1=1, axis2=2)
    left, going = total.copy(), total > 0
    score = _first_scores(sigma, r)
    whole = (r * r).sum(axis=0)
    length = np.repeat(whole[None], draws, axis=0)
    basis = np.zeros((draws, steps, width))
    picks, removed = np.full((draws, steps), -1), np.zeros((draws, steps))
    rows = np.arange(draws)
    for step in range(steps):
        if exact is None:
            score[length <= whole * SPANNED_SINGLE] = -np.inf
            best = score.argmax(axis=1)
            going &= score[rows, best] > -np.inf
            v = deflate_each(r[:, best].T.astype(np.float64), basis[:, :step])
        else:
            found, residual = exact.best(score[0], basis[0, :step])
            best, going = np.array([found]), going & (found >= 0)
            v = residual[None]
        going &= left > FINISHED * total
        if not going.any():
            break
        u = v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-300)
        u[~going] = 0
        w = deflate_each(np.matmul(sigma, u[:, :, None])[:, :, 0], basis[:, :step])
        gone = (u * w).sum(axis=1)
        along = _update(score, r, u, w, gone)
        if exact is None:
            along *= along
            length -= along
        else:
            exact.step(w[0])
        score[rows, best] = -np.inf
        basis[:, step] = u
        picks[going, step] = best[going]
        removed[going, step] = np.maximum(gone[going], 0)
        left -= gone
    return picks, removed


def _first_scores(
    sigma: Float[np.ndarray, "draw d d"], r: Float32[np.ndarray, "d text"]
) -> Float32[np.ndarray, "draw text"]:
    """Return rᵀ Σ r of every text.

    For many Σ, with the products r_i r_j of each text made once: Σ_i≤j (2 − δ_ij) Σ_ij r_i r_j.
    """
    draws, width = len(sigma), len(r)
    single = sigma.astype(np.float32)
    if draws < _PAIRED:
        along = (single.reshape(-1, width) @ r).reshape(draws, width, -1)
        along *= r
        summed: np.ndarray = along.sum(axis=1)
        return summed
    rows, columns = np.triu_indices(width)
    twice = np.where(rows == columns, 1, 2).astype(np.float32)
    coefficients = single[:, rows, columns] * twice
    score = np.empty((draws, r.shape[1]), np.float32)
    for start in range(0, r.shape[1], _TEXTS):
        some = np.ascontiguousarray(r[:, start : start + _TEXTS])
        pairs = np.concatenate([some[i:] * some[i] for i in range(width)])
        np.matmul(coefficients, pairs, out=score[:, start : start + _TEXTS])
    return score


def _update(
    score: Float32[np.ndarray, "draw text"],
    r: Float32[np.ndarray, "d text"],
    u: Float[np.ndarray, "draw d"],
    w: Float[np.ndarray, "draw d"],
    gone: Float[np.ndarray, " draw"],
) -> Float32[np.ndarray, "draw text"]:
    """Take direction u out of the scores, in place; return the texts' coordinates along it."""
    along, across = u.astype(np.float32) @ r, w.astype(np.float32) @ r
    across *= -2
    across += along * gone[:, None].astype(np.float32)
    across *= along
    score += across
    return along


def deflate(
    v: Float[np.ndarray, "row d"], basis: Float[np.ndarray, "rank d"]
) -> Float[np.ndarray, "row d"]:
    """Remove the basis' directions from vectors, twice, since once leaves rounding behind."""
    for _ in range(2):
        v = v - (v @ basis.T) @ basis
    return v


def deflate_each(
    v: Float[np.ndarray, "draw d"], basis: Float[np.ndarray, "draw rank d"]
) -> Float[np.ndarray, "draw d"]:
    """Remove from each vector the directions of its own basis."""
    for _ in range(2):
        v = v - np.matmul(np.matmul(basis, v[:, :, None]).transpose(0, 2, 1), basis)[:, 0]
    return v
