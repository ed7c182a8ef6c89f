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

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

# A text whose remaining length fell under this share of its projection is spanned by earlier picks.
SPANNED = 1e-10
# A head is finished when this share of its variance is left.
FINISHED = 1e-12
# Heads at a time: their projected texts should stay in the processor's cache.
CHUNK = 4


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


@torch.inference_mode()
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
    pool = torch.from_numpy(np.ascontiguousarray(texts.T)).double()
    found = [np.full((n_heads, steps), -1), *(np.zeros((n_heads, steps)) for _ in range(2))]
    vectors = np.zeros((n_heads, steps, width))
    for start in range(0, n_heads, CHUNK):
        heads = slice(start, min(start + CHUNK, n_heads))
        sigma = torch.from_numpy(np.ascontiguousarray(covariance[heads])).double()
        q = torch.from_numpy(np.ascontiguousarray(frames_q[heads])).double()
        r = (q.mT @ pool).mT.contiguous()
        if renormalise:
            r = torch.nn.functional.normalize(r, dim=-1)
        picks, variance, explained = _pick(sigma, r, steps)
        for target, values in zip(found, (picks, variance, explained), strict=True):
            target[heads] = values.numpy()
        chosen = r.gather(1, picks.clamp(min=0)[..., None].expand(-1, -1, width))
        vectors[heads] = torch.where(picks[..., None] >= 0, chosen, 0).numpy()
    return Basis(found[0], found[1], found[2], pca_ceiling(covariance, steps), vectors)


def _pick(
    sigma: Float[Tensor, "head d d"], r: Float[Tensor, "head text d"], steps: int
) -> tuple[Int[Tensor, "head rank"], Float[Tensor, "head rank"], Float[Tensor, "head rank"]]:
    """Run the fast form on a few heads; return picks, variance removed, and its share."""
    n_heads, n_texts, width = r.shape
    rows = torch.arange(n_heads)
    total = sigma.diagonal(dim1=-2, dim2=-1).sum(-1)
    score = ((r @ sigma) * r).sum(-1)
    length = (r * r).sum(-1)
    floor = length * SPANNED
    taken = torch.zeros(n_heads, n_texts, dtype=torch.bool)
    basis = torch.zeros(n_heads, steps, width, dtype=r.dtype)
    picks = torch.full((n_heads, steps), -1)
    variance = torch.zeros(n_heads, steps, dtype=r.dtype)
    left = total.clone()
    for step in range(steps):
        usable = score.masked_fill(taken | (length <= floor), -torch.inf)
        best = usable.argmax(dim=1)
        alive = torch.isfinite(usable[rows, best]) & (left > FINISHED * total)
        if not bool(alive.any()):
            break
        u = _deflate(r[rows, best], basis[:, :step])
        u = torch.nn.functional.normalize(u, dim=-1) * alive[:, None]
        w = _deflate((sigma @ u[..., None]).squeeze(-1), basis[:, :step])
        removed = (u * w).sum(-1)
        along, across = (r @ torch.stack([u, w], dim=-1)).unbind(-1)
        score += along * (along * removed[:, None] - 2 * across)
        length -= along * along
        basis[:, step] = u
        taken[rows, best] |= alive
        picks[:, step] = torch.where(alive, best, -1)
        variance[:, step] = removed.clamp(min=0) * alive
        left -= variance[:, step]
    share = variance / torch.where(total > 0, total, 1)[:, None]
    return picks, variance, share


def _deflate(
    v: Float[Tensor, "head d"], basis: Float[Tensor, "head rank d"]
) -> Float[Tensor, "head d"]:
    """Remove the basis' directions from v, twice, since once leaves rounding behind."""
    for _ in range(2):
        v = v - ((basis @ v[..., None]).mT @ basis).squeeze(1)
    return v


def pca_ceiling(
    covariance: Float[np.ndarray, "head d_head d_head"], steps: int
) -> Float[np.ndarray, "head rank"]:
    """Return the share of variance in the first 1, 2, ... principal directions of each head."""
    values = np.clip(np.linalg.eigvalsh(covariance)[:, ::-1], 0, None)
    total = values.sum(axis=1, keepdims=True)
    return np.cumsum(values, axis=1)[:, :steps] / np.where(total > 0, total, 1)
