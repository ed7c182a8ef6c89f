"""A second null for roles: the same head, turned at random within its own frame.

Permuting labels cannot see how well a head lies along its texts: a head with one dominant pick is
never called, even when 90 % of its variance lies along one text, which no random direction does.
Here the texts stay whole, with all their likeness to each other, and the head's covariance Σ is
replaced by U Σ Uᵀ, U a random rotation of the head frame: the same spectrum, no relation to texts.
TextSpan runs on each turned head; the statistic is the share of the head's *total* variance that
the first picks of a property carry. For a model with random weights this null is exact: its two
towers know nothing of each other.

The texts are turned once a rotation and not once a draw: to the directions of each the spectrum is
put in several random orders. Each draw is still Σ turned by a rotation that is uniform over all,
since a uniform rotation times a permutation is one; draws of one rotation are not independent, but
two of them put their large eigenvalues on different directions, all but a few times.

A beta distribution with the null's mean and variance gives p-values below 1 / draws.

Draws go where they decide something (Besag and Clifford 1991): every head has a few, and those
whose p-values then say neither that a property is certain nor that none can be called have all.
"""

from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Bool, Float, Int

from pipeline.heads.span import Rotated, span
from pipeline.heads.textspan import PerHead, in_threads

# Picks that count: later ones carry little, and cost as much.
FIRST = 10
# Of so many directions of a rotation, one order of the spectrum is drawn.
_DIRECTIONS = 4
# Draws that every head has. A p-value of these, 13 % off in the spread of the null, that lies
# between the bounds could still come to lie on either side of what is called.
_AT_FIRST = 32
_UNDECIDED = (1e-8, 0.01)


@dataclass(frozen=True)
class Turned:
    """Shares of total variance by property in the first picks, and their p-values.

    Attributes:
        share: carried by texts of the property.
        expected: mean of that share over the turned heads.
        p_value: of the share under the turned null.
    """

    share: Float[np.ndarray, "head property"]
    expected: Float[np.ndarray, "head property"]
    p_value: Float[np.ndarray, "head property"]


def turned(
    covariance: PerHead,
    frames_q: PerHead,
    texts: Float[np.ndarray, "text d_joint"],
    picks: Int[np.ndarray, "head rank"],
    explained: Float[np.ndarray, "head rank"],
    codes: Int[np.ndarray, " text"],
    *,
    draws: int = 128,
    renormalise: bool = False,
    seed: int = 0,
) -> Turned:
    """Test every head for every property code against `draws` turned heads each.

    Args:
        covariance: of the heads' vectors.
        frames_q: head frames.
        texts: unit-norm embeddings of the pool.
        picks: the basis' picks, −1 where the head ran out.
        explained: share of the head's variance of each pick.
        codes: property of each text, from 0; −1 where unknown.
        draws: rotations per head, at most.
        renormalise: as the basis was made.
        seed: of the rotations, which all heads share.
    """
    n_properties = int(codes.max(initial=-1)) + 1
    steps = min(FIRST, picks.shape[1], len(texts))
    share = _by_property(explained[:, :steps], picks[:, :steps], codes, n_properties)
    turns = {width: _turns(draws, width, seed) for width in {len(s) for s in covariance}}
    pool = np.ascontiguousarray(texts.T, np.float32)

    def one(
        sigma: Float[np.ndarray, "d d"],
        q: Float[np.ndarray, "d_joint d"],
        observed: Float[np.ndarray, " property"],
    ) -> tuple[np.ndarray, np.ndarray]:
        spectrum = np.clip(np.linalg.eigvalsh(sigma), 0, None)
        if not spectrum.sum() > 0:
            return np.zeros(n_properties), np.ones(n_properties)
        directions, orders = turns[len(sigma)]
        r = q.T.astype(np.float32) @ pool
        if renormalise:
            r /= np.maximum(np.linalg.norm(r, axis=0), 1e-12)
        spectra = (spectrum / spectrum.sum())[orders]

        def null(some: slice) -> Float[np.ndarray, "draw property"]:
            heads = Rotated(directions[some], spectra[some], r)
            chosen, removed = span(heads, min(steps, len(r)))
            return _by_property(removed, chosen, codes, n_properties)

        few = -(-min(_AT_FIRST, draws) // orders.shape[1])
        found = null(slice(few))[:draws]
        p_value = _beta_tail(observed, found)
        if len(found) < draws and _undecided(observed, p_value, found):
            found = np.concatenate([found, null(slice(few, None))])[:draws]
            p_value = _beta_tail(observed, found)
        return found.mean(axis=0), p_value

    found = in_threads(one, covariance, frames_q, share)
    expected, p_value = np.zeros_like(share), np.ones_like(share)
    for head, (mean, p) in enumerate(found):
        expected[head], p_value[head] = mean, p
    p_value[share <= 0] = 1.0
    return Turned(share, expected, p_value)


def _turns(
    draws: int, width: int, seed: int
) -> tuple[Float[np.ndarray, "a d d"], Int[np.ndarray, "a b d"]]:
    """Draw rotations, and for each the orders in which the spectrum is put on its directions.

    No fewer than `draws` in all: an order for every fourth direction of a rotation.
    """
    rng = np.random.default_rng(seed)
    rotations = -(-draws // max(width // _DIRECTIONS, 1))
    orders = np.tile(np.arange(width), (rotations, -(-draws // rotations), 1))
    directions: np.ndarray = np.linalg.qr(rng.normal(size=(rotations, width, width)))[0]
    return directions, rng.permuted(orders, axis=2)


def _undecided(
    observed: Float[np.ndarray, " property"],
    p_value: Float[np.ndarray, " property"],
    null: Float[np.ndarray, "draw property"],
) -> bool:
    """Whether more draws could change what is called of a head."""
    least, most = _UNDECIDED
    open_still = (p_value > least) & (p_value < most) | ~_fitted(null)
    return bool((open_still & (observed > 0)).any())


def _fitted(null: Float[np.ndarray, "draw property"]) -> Bool[np.ndarray, " property"]:
    """Whether enough draws have a property for a distribution to be fitted."""
    found: np.ndarray = ((null > 0).sum(axis=0) >= 5) & (null.var(axis=0) > 0)
    return found


def _by_property(
    weights: Float[np.ndarray, "row rank"],
    picks: Int[np.ndarray, "row rank"],
    codes: Int[np.ndarray, " text"],
    n_properties: int,
) -> Float[np.ndarray, "row property"]:
    """Sum the weights of the picks of each property."""
    found = np.where(picks >= 0, codes[picks], -1)
    hits = found[:, :, None] == np.arange(n_properties)
    return np.einsum("nr,nrp->np", weights.astype(np.float64), hits)


def _beta_tail(
    share: Float[np.ndarray, " property"], null: Float[np.ndarray, "draw property"]
) -> Float[np.ndarray, " property"]:
    """Return P(null ≥ share) by a beta distribution of the null's moments.

    Where fewer than five draws have the property at all there is nothing to fit, and the p-value is
    (1 + reached) / (1 + draws).
    """
    draws = len(null)
    counted = (1 + (null >= share).sum(axis=0)) / (1 + draws)
    mean, variance = null.mean(axis=0), null.var(axis=0)
    usable = _fitted(null)
    m, v = np.where(usable, mean, 0.5), np.where(usable, variance, 0.05)
    size = np.maximum(m * (1 - m) / v - 1, 1e-3)
    fitted = scipy.stats.beta.sf(np.clip(share, 0, 1 - 1e-9), m * size, (1 - m) * size)
    return np.where(usable, fitted, counted)
