"""Head frames: the directions of the joint space that a head can write to.

A head's contribution is o · T / σ with T fixed by the weights, so it lies in T's row space. QR of
T's transpose gives an orthonormal basis Q of that space, exact and d_joint / d_head times smaller
than the joint space (DESIGN §2). Frames are computed once per scan and loaded ever after. Their
width belongs to the layer: the pool's heads have their own, and trunk heads that are read through
a pool's attention have no narrow frame, so the whole joint space is theirs (TOWERS §1).
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.heads.stored_frames import Frames, Pair, identities
from pipeline.towers.tower import Tower


def head_frames(tower: Tower, layers: Sequence[int], *, gated: bool = False) -> Frames:
    """Compute the frames of `layers` in float64: T = Rᵀ Qᵀ by QR, diag(R) >= 0.

    With `gated`, the pool's heads go on through its MLP, by a map that depends on the picture: no
    frame is theirs but the joint space.
    """
    return Frames({layer: _frame(tower, layer, gated) for layer in layers})


def _frame(tower: Tower, layer: int, gated: bool) -> Pair:
    pool = tower.readout.pool
    if pool is None:
        return _factor(tower.blocks[layer].transform() @ tower.readout.map(tower.d_model))
    own = layer == tower.pool_layer
    if own and not gated:
        return _factor(pool_transform(tower))
    eye = identities(pool.n_heads if own else tower.blocks[layer].n_heads, tower.d_joint)
    return eye, eye


def pool_transform(tower: Tower) -> Float[Tensor, "pool_head pool_width d_joint"]:
    """Return T of each head of the pool, in float64: W_O [C diag(γ_post) P]."""
    pool = tower.readout.pool
    assert pool is not None
    weight = pool.out.weight.detach().double().cpu().T
    last = tower.readout.last_map(weight.shape[1])
    return (weight @ last).unflatten(0, (pool.n_heads, pool.d_head))


def _factor(
    transforms: Float[Tensor, "n_heads d_head d_joint"],
) -> Pair:
    q, r = torch.linalg.qr(transforms.mT)
    signs = torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).to(r.dtype)
    return (
        np.ascontiguousarray((q * signs.unsqueeze(-2)).numpy()),
        np.ascontiguousarray((r * signs.unsqueeze(-1)).numpy()),
    )
