"""Texts as directions of what a tower's heads write: the maps T A of the parts, applied to texts.

On the tower's own device and in its own precision; the frames have the same maps in float64.
"""

from jaxtyping import Float
from torch import Tensor, nn

from pipeline.towers.block import Block
from pipeline.towers.tower import Tower


def fold_texts(
    tower: Tower, texts: Float[Tensor, "*image text d_joint"]
) -> Float[Tensor, "*image d_model text"]:
    """Return A t = C diag(γ) P t: the texts as directions of the residual stream.

    For read-outs without attention.
    """
    readout = tower.readout
    return _through_norm(readout.pre, _through_last(tower, texts))


def through_output(
    block: Block, folded: Float[Tensor, "*image d_model text"]
) -> Float[Tensor, "*image channel text"]:
    """Return T of folded texts: their numbers for each channel of each head, heads in order."""
    gain = folded if block.gain is None else block.gain[:, None] * folded
    weight = block.out.weight
    channels = weight.T @ _through_norm(block.post, gain).to(weight.dtype)
    channels = _through_norm(block.inner, channels)
    if block.head_scale is not None:
        scale = block.head_scale.flatten().repeat_interleave(block.d_head)
        channels = scale[:, None] * channels
    return channels


def through_pool(
    tower: Tower, texts: Float[Tensor, "*image text d_joint"]
) -> Float[Tensor, "*image channel text"]:
    """Return W_O A t: the texts' numbers for each channel of each head of the tower's pool."""
    pool = tower.readout.pool
    assert pool is not None
    weight = pool.out.weight
    return weight.T @ _through_last(tower, texts).to(weight.dtype)


def _through_last(
    tower: Tower, texts: Float[Tensor, "*image text d_joint"]
) -> Float[Tensor, "*image d_pool text"]:
    """Return C diag(γ_post) W t."""
    directions = texts.mT
    for weight, _ in reversed(tower.readout.project):
        directions = weight.T @ directions.to(weight.dtype)
    return _through_norm(tower.readout.post, directions)


def _through_norm(
    norm: nn.Module | None, directions: Float[Tensor, "*image d text"]
) -> Float[Tensor, "*image d text"]:
    """Return C diag(γ) of directions: the linear part of a LayerNorm, transposed."""
    if norm is None:
        return directions
    gamma = getattr(norm, "weight", None)
    if gamma is not None:
        directions = gamma[:, None] * directions
    return directions - directions.mean(dim=-2, keepdim=True)
