"""Head frames: the d_head directions of the joint space that a head can write to.

A head's contribution is o · T / σ with T fixed by the weights, so it lies in T's row space. QR of
T's transpose gives an orthonormal basis Q of that space, exact and d_joint / d_head times smaller
than the joint space (DESIGN §2). Frames are computed once per scan and loaded ever after.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from safetensors.numpy import load_file, save
from torch import Tensor

from schemas.errors import CorruptStore


@dataclass(frozen=True)
class Frames:
    """The frames of a scan's stored layers, in float64.

    Attributes:
        q: orthonormal columns; c / norm = Q · vector.
        r: upper triangular, diagonal >= 0; T = Rᵀ Qᵀ, and vector = o Rᵀ / (σ · norm).
        layers: 0-based layers, ascending.
    """

    q: Float[np.ndarray, "layer n_heads d_joint d_head"]
    r: Float[np.ndarray, "layer n_heads d_head d_head"]
    layers: Int[np.ndarray, " layer"]

    def to_bytes(self) -> bytes:
        """Return the frames as safetensors: `q`, `r`, `layers`."""
        return save({"q": self.q, "r": self.r, "layers": self.layers})

    def digest(self) -> str:
        """Return the sha256 of `to_bytes`."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def load_frames(path: Path, expected_sha256: str) -> Frames:
    """Load frames.safetensors.

    Raises:
        CorruptStore: the file is absent or differs from the digest in scan.json.
    """
    if not path.is_file():
        raise CorruptStore(f"{path} is missing; run the scan with --restart")
    frames = Frames(**load_file(path))
    if frames.digest() != expected_sha256:
        raise CorruptStore(
            f"{path} has digest {frames.digest()[:12]}, scan.json says {expected_sha256[:12]}; "
            "restore the file or run the scan with --restart"
        )
    return frames


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
