"""Spectral tuning of heads on stored vectors: each principal direction weighed anew (ResiDual).

With V_h the principal directions of head h in its frame Q_h, v its vectors and v̄ their mean,

    e' = e + Σ_h Q_h V_h diag(λ_h − 1) V_hᵀ (v_h − v̄_h)

(arXiv 2411.00246). Only λ is learned, by cross-entropy with the classes' weights w at a
fixed scale s. Logits are linear in δ = λ − 1,

    s w·e' = s w·e + s Σ_k δ_k z_k b_k,      z = V_hᵀ (v_h − v̄_h),   b = w Q_h V_h

so the loss with a ridge on δ is convex, and no model runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Float, Int

# Pictures whose terms are held at a time.
_ROWS = 512
# Steps of L-BFGS at most: a few tens are enough.
_STEPS = 200


@dataclass(frozen=True)
class Problem:
    """Pictures with their classes, and what each direction can add to their logits.

    Attributes:
        base: w·e of each picture and class.
        z: each picture's coordinate along each direction, centred.
        b: what a unit along each direction adds to w·e.
        truth: each picture's class.
    """

    base: Float[np.ndarray, "image class"]
    z: Float[np.ndarray, "image direction"]
    b: Float[np.ndarray, "direction class"]
    truth: Int[np.ndarray, " image"]

    def take(self, at: Int[np.ndarray, " chosen"]) -> "Problem":
        """Return the problem of some pictures."""
        return Problem(self.base[at], self.z[at], self.b, self.truth[at])

    def logits(self, delta: Float[np.ndarray, " direction"]) -> Float[np.ndarray, "image class"]:
        """Return w·e' of each picture and class."""
        found: np.ndarray = self.base + self.z @ (delta[:, None] * self.b)
        return found


def loss(
    delta: Float[np.ndarray, " direction"], problem: Problem, ridge: float, scale: float
) -> tuple[float, Float[np.ndarray, " direction"]]:
    """Return mean cross-entropy + ridge/2 ‖δ‖², and its gradient."""
    total, gradient = 0.0, np.zeros_like(delta)
    tuned = delta[:, None] * problem.b
    for start in range(0, len(problem.truth), _ROWS):
        some = slice(start, start + _ROWS)
        z, truth = problem.z[some], problem.truth[some]
        logits = scale * (problem.base[some] + z @ tuned)
        norm = scipy.special.logsumexp(logits, axis=1, keepdims=True)
        rows = np.arange(len(truth))
        total += float((norm[:, 0] - logits[rows, truth]).sum())
        error = np.exp(logits - norm)
        error[rows, truth] -= 1
        gradient += np.einsum("ik,ik->k", z, error @ problem.b.T)
    n = max(len(problem.truth), 1)
    value = total / n + ridge / 2 * float(delta @ delta)
    return value, scale * gradient / n + ridge * delta


def fit(problem: Problem, ridge: float, scale: float) -> Float[np.ndarray, " direction"]:
    """Return δ of the least loss, from δ = 0 by L-BFGS."""
    found = scipy.optimize.minimize(
        loss,
        np.zeros(problem.z.shape[1]),
        (problem, ridge, scale),
        method="L-BFGS-B",
        jac=True,
        options={"maxiter": _STEPS},
    )
    result: np.ndarray = found.x
    return result


def folds(truth: Int[np.ndarray, " image"], count: int, seed: int) -> Int[np.ndarray, " image"]:
    """Return each picture's fold; each class is spread over all of them, in random order."""
    rng = np.random.default_rng(seed)
    found = np.empty(len(truth), np.int64)
    for value in np.unique(truth):
        places = np.flatnonzero(truth == value)
        start = rng.integers(count)
        found[rng.permutation(places)] = (np.arange(len(places)) + start) % count
    return found


def held_out(
    problem: Problem, fold: Int[np.ndarray, " image"], ridge: float, scale: float
) -> Int[np.ndarray, " image"]:
    """Return each picture's predicted class by a δ that was learned on the other folds."""
    found = np.empty(len(problem.truth), np.int64)
    for value in np.unique(fold):
        delta = fit(problem.take(np.flatnonzero(fold != value)), ridge, scale)
        here = np.flatnonzero(fold == value)
        found[here] = problem.take(here).logits(delta).argmax(axis=1)
    return found


@dataclass(frozen=True)
class Score:
    """How often pictures of a group are told right, before tuning and held out after it."""

    group: tuple[str | None, ...] | None
    n: int
    before: float
    after: float


def scores(
    problem: Problem,
    predicted: Int[np.ndarray, " image"],
    groups: Sequence[tuple[str | None, ...]],
) -> list[Score]:
    """Return the score over all pictures, with group None, and of each group."""
    before = problem.base.argmax(axis=1) == problem.truth
    after = predicted == problem.truth
    found = [Score(None, len(before), float(before.mean()), float(after.mean()))]
    where: dict[tuple[str | None, ...], list[int]] = {}
    for at, group in enumerate(groups):
        where.setdefault(group, []).append(at)
    for group, places in sorted(where.items(), key=lambda item: tuple(map(str, item[0]))):
        right = float(before[places].mean()), float(after[places].mean())
        found.append(Score(group, len(places), *right))
    return found
