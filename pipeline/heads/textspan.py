"""TextSpan, Algorithm 1 of Gandelsman et al. (ICLR 2024), on moments instead of pictures.

The variance over pictures of ⟨c, r⟩ is rᵀ Σ r, so the algorithm needs a head's covariance Σ and the
texts' projections r_j = Qᵀ t_j, never the pictures. Each step picks j* = argmax_j r_jᵀ Σ r_j and
projects u = r_{j*}/‖r_{j*}‖ out of Σ and of every r_j.

Fast form: with U the picked directions (orthonormal) and P = 1 − U Uᵀ, the deflated quantities are
P Σ P and P r_j. Scores and squared lengths then follow from one product of the *original* texts
with two vectors per step:

    r'ᵀ Σ' r' = rᵀ Σ r − 2 (u·r)(w·r) + (u·r)² (u·w),   w = P Σ u,     ‖r'‖² = ‖r‖² − (u·r)²

so a step costs 4 M d_head operations per head, and nothing of the size of M × d_head is rewritten.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

# A text whose remaining length fell under this share of its projection is spanned by earlier picks.
SPANNED = 1e-10
# A head is finished when this share of its variance is left.
FINISHED = 1e-12
# Heads projected by one matrix product; more would only take memory.
CHUNK = 8


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
    vectors: Float[np.ndarray, "head rank d_head"]

    @property
    def cumulative(self) -> Float[np.ndarray, "head rank"]:
        """Share explained by each pick and all before it."""
        return np.cumsum(self.explained, axis=1)


def textspan(
    covariance: Float[np.ndarray, "head d_head d_head"],
    frames_q: Float[np.ndarray, "head d_joint d_head"],
    texts: Float[np.ndarray, "text d_joint"],
    steps: int,
    *,
    renormalise: bool = False,
) -> Basis:
    """Pick up to `steps` texts per head that span its contributions.

    Args:
        covariance: of the heads' vectors, float64.
        frames_q: head frames.
        texts: unit-norm text embeddings.
        steps: m of the paper; never more than d_head directions are found.
        renormalise: make the projections Qᵀ t unit-norm first. Off as in the paper, which favours
            texts that lie in the head's span.

    Does not centre or whiten the texts.
    """
    n_heads, width = covariance.shape[0], covariance.shape[1]
    steps = min(steps, width, len(texts))
    picks = np.full((n_heads, steps), -1)
    variance = np.zeros((n_heads, steps))
    vectors = np.zeros((n_heads, steps, width))

    def span(head: int, r: Float[np.ndarray, "text d_head"]) -> None:
        chosen, removed = _span_one(covariance[head].astype(np.float64), r, steps)
        picks[head, : len(chosen)] = chosen
        variance[head, : len(chosen)] = removed
        vectors[head, : len(chosen)] = r[chosen]

    # one head is a chain of small products: heads run side by side instead
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for projected in _projections(frames_q, texts, renormalise):
            list(threads.map(span, *zip(*projected, strict=True)))
    total = np.trace(covariance, axis1=1, axis2=2)
    explained = variance / np.where(total > 0, total, 1)[:, None]
    return Basis(picks, variance, explained, pca_ceiling(covariance, steps), vectors)


def _projections(
    frames_q: Float[np.ndarray, "head d_joint d_head"],
    texts: Float[np.ndarray, "text d_joint"],
    renormalise: bool,
) -> Iterator[list[tuple[int, Float[np.ndarray, "text d_head"]]]]:
    """Yield Qᵀ t of all texts for a few heads at a time, as (head, projections)."""
    pool = texts.astype(np.float64)
    width = frames_q.shape[2]
    for start in range(0, len(frames_q), CHUNK):
        block = frames_q[start : start + CHUNK].astype(np.float64)
        stacked = np.ascontiguousarray(block.transpose(1, 0, 2)).reshape(block.shape[1], -1)
        together = pool @ stacked
        chunk = []
        for i in range(len(block)):
            r = np.ascontiguousarray(together[:, i * width : (i + 1) * width])
            if renormalise:
                lengths = np.linalg.norm(r, axis=1, keepdims=True)
                r /= np.where(lengths > 0, lengths, 1)
            chunk.append((start + i, r))
        yield chunk


def _span_one(
    sigma: Float[np.ndarray, "d d"], r: Float[np.ndarray, "text d"], steps: int
) -> tuple[list[int], list[float]]:
    """Run the fast form on one head; return the picks and the variance that each removes."""
    left = total = float(np.trace(sigma))
    score = np.einsum("td,td->t", r @ sigma, r)
    length = np.einsum("td,td->t", r, r)
    floor = length * SPANNED
    basis = np.zeros((steps, len(sigma)))
    picks: list[int] = []
    variance: list[float] = []
    for step in range(steps):
        if not left > FINISHED * total:
            break
        score[length <= floor] = -np.inf
        best = int(score.argmax())
        if score[best] == -np.inf:
            break
        u = _deflate(r[best], basis[:step])
        u /= np.linalg.norm(u)
        w = _deflate(sigma @ u, basis[:step])
        removed = float(u @ w)
        along, across = (r @ np.stack([u, w], axis=1)).T
        score += along * (along * removed - 2 * across)
        length -= along * along
        score[best] = -np.inf
        basis[step] = u
        picks.append(best)
        variance.append(max(removed, 0.0))
        left -= removed
    return picks, variance


def _deflate(
    v: Float[np.ndarray, " d"], basis: Float[np.ndarray, "rank d"]
) -> Float[np.ndarray, " d"]:
    """Remove the basis' directions from v, twice, since once leaves rounding behind."""
    for _ in range(2):
        v = v - (basis @ v) @ basis
    return v


def pca_ceiling(
    covariance: Float[np.ndarray, "head d_head d_head"], steps: int
) -> Float[np.ndarray, "head rank"]:
    """Return the share of variance in the first 1, 2, ... principal directions of each head."""
    values = np.clip(np.linalg.eigvalsh(covariance)[:, ::-1], 0, None)
    total = values.sum(axis=1, keepdims=True)
    return np.cumsum(values, axis=1)[:, :steps] / np.where(total > 0, total, 1)
