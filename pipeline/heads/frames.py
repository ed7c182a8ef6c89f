"""Head frames: the d_head directions of the joint space that a head can write to.

A head's contribution is o · T / σ with T fixed by the weights, so it lies in T's row space. QR of
T's transpose gives an orthonormal basis Q of that space, exact and d_joint / d_head times smaller
than the joint space (DESIGN §2). Frames are computed once per scan and loaded ever after.
"""

import numpy as np
import torch
from jaxtyping import Float
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor

from pipeline.heads.stored_frames import Frames


def head_frames(visual: VisionTransformer, layers: tuple[int, ...]) -> Frames:
    """Compute the frames of `layers` in float64: T = Rᵀ Qᵀ by QR, diag(R) >= 0."""
    readout = output_map(visual)
    blocks = visual.transformer.resblocks
    transforms = torch.stack([_head_transforms(blocks[layer], readout) for layer in layers])
    q, r = torch.linalg.qr(transforms.mT)
    signs = torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).to(r.dtype)
    return Frames(
        q=np.ascontiguousarray((q * signs.unsqueeze(-2)).numpy()),
        r=np.ascontiguousarray((r * signs.unsqueeze(-1)).numpy()),
        layers=np.asarray(layers, dtype=np.int64),
    )


def output_map(visual: VisionTransformer) -> Float[Tensor, "d_model d_joint"]:
    """Return (1 − 11ᵀ/d_model) diag(γ) P in float64: residual stream to embedding, times 1/σ."""
    projection = visual.proj.detach().double().cpu()
    gamma = visual.ln_post.weight
    if gamma is not None:
        projection = gamma.detach().double().cpu()[:, None] * projection
    return projection - projection.mean(dim=0, keepdim=True)


def _head_transforms(
    block: ResidualAttentionBlock, readout: Float[Tensor, "d_model d_joint"]
) -> Float[Tensor, "n_heads d_head d_joint"]:
    """Return T of each head: W_O diag(λ) (1 − 11ᵀ/d_model) diag(γ) P."""
    out = block.attn.out_proj.weight.detach().double().cpu().T
    scale = getattr(block.ls_1, "gamma", None)
    if scale is not None:
        out = out * scale.detach().double().cpu()
    return (out @ readout).unflatten(0, (block.attn.num_heads, -1))
