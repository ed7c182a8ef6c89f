"""LayerNorm as what it is once its scale is fixed: centring, a diagonal, a shift.

LN(x) = (x − mean(x)) diag(γ) / σ(x) + β = x C diag(γ) / σ(x) + β, with C = I − 11ᵀ/d (TOWERS §1).
"""

import torch
from jaxtyping import Float
from open_clip.transformer import LayerNorm, LayerNormFp32
from timm.layers.norm import LayerNorm as TimmLayerNorm
from timm.layers.norm import LayerNormFp32 as TimmLayerNormFp32
from torch import Tensor, nn

# Their forwards are all the same function, whatever they compute it in.
LAYER_NORMS = (nn.LayerNorm, LayerNorm, LayerNormFp32, TimmLayerNorm, TimmLayerNormFp32)


def is_layer_norm(module: object) -> bool:
    """Whether a module is a LayerNorm by its exact type; a subclass may have another forward."""
    return type(module) in LAYER_NORMS


def wide(x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """Return a tensor in single precision at least."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def mean_of(x: Float[Tensor, "..."], dim: int) -> Float[Tensor, "..."]:
    """Return the mean along an axis, which is kept, in single precision at least."""
    return x.mean(dim=dim, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))


def sigma_of(norm: nn.Module, x: Float[Tensor, "*axes d"]) -> Float[Tensor, "*axes"]:
    """Return the scale that a LayerNorm divides by, sqrt(var + eps), in single precision at least.

    Without a norm, ones.
    """
    eps: float = norm.eps  # type: ignore[assignment]
    # torch's own var takes seven times as long over the last axis on a CPU
    centred = wide(x) - mean_of(x, dim=-1)
    return (torch.linalg.vecdot(centred, centred) / x.shape[-1] + eps).sqrt()


def through(norm: nn.Module | None, matrix: Float[Tensor, "d out"]) -> Float[Tensor, "d out"]:
    """Return C diag(γ) · matrix in float64: the norm's linear part, then the matrix."""
    if norm is None:
        return matrix
    gamma = getattr(norm, "weight", None)
    if gamma is not None:
        matrix = exact(gamma)[:, None] * matrix
    return matrix - matrix.mean(dim=0, keepdim=True)


def after(matrix: Float[Tensor, "rows d"], norm: nn.Module | None) -> Float[Tensor, "rows d"]:
    """Return matrix · C diag(γ) in float64: the matrix, then the norm's linear part."""
    if norm is None:
        return matrix
    centred = matrix - matrix.mean(dim=-1, keepdim=True)
    gamma = getattr(norm, "weight", None)
    return centred if gamma is None else centred * exact(gamma)


def shift_of(norm: nn.Module | None, width: int) -> Float[Tensor, " d"]:
    """Return β in float64, zeros where there is none."""
    return exact_or_zeros(getattr(norm, "bias", None), width)


def exact(tensor: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """Return a weight in float64 on the CPU."""
    return tensor.detach().double().cpu()


def exact_or_zeros(tensor: Tensor | None, width: int) -> Float[Tensor, " d"]:
    """Return a bias in float64 on the CPU, zeros where there is none."""
    return torch.zeros(width, dtype=torch.float64) if tensor is None else exact(tensor)
