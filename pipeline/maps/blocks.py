"""What methods of maps do with a tower's blocks and read-out, beside what the tower does itself.

The blocks are those of `pipeline.towers`: one walk for every family.
"""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from pipeline.maps.base import wide
from pipeline.towers.block import Block
from pipeline.towers.tower import Tower


def attention(
    q: Float[Tensor, "image n_heads query d_head"],
    k: Float[Tensor, "image n_heads key d_head"],
    mask: Float[Tensor, "query key"] | None = None,
) -> Float[Tensor, "image n_heads query key"]:
    """Return softmax(q kᵀ / √d_head [+ mask]) of any two: a method's own attention."""
    # scaled before the product, which half precision could not hold
    scores = q * q.shape[-1] ** -0.5 @ k.mT
    return (scores if mask is None else scores + mask).softmax(dim=-1)


def add(
    block: Block, x: Float[Tensor, "image token d_model"], o: Float[Tensor, "image h token d"]
) -> Float[Tensor, "image token d_model"]:
    """Return the residual stream after a block whose heads' outputs are o."""
    x = x + block.write(o).update
    return x + block.mlp(x)


def first_after(
    block: Block, x: Float[Tensor, "image token d_model"]
) -> Float[Tensor, "image 1 d_model"]:
    """Return the first token alone after a block: all that the last one is needed for."""
    return add(block, x[:, :1], block.attend(x, 1))


def before_last(
    tower: Tower, x: Float[Tensor, "image token d_model"]
) -> Float[Tensor, "image token d_model"]:
    """Return the residual stream that the last block receives."""
    for block in tower.blocks[:-1]:
        x = block.after(x)
    return x


def embedding(
    tower: Tower, z: Float[Tensor, "image token d_model"]
) -> Float[Tensor, "image d_joint"]:
    """Return the unit-norm embedding of the last residual stream; of its first token, if `single`.

    A read-out of the first token needs no others.
    """
    return F.normalize(wide(tower.readout.embed(z)), dim=-1)


def to_joint(tower: Tower, x: Float[Tensor, "*axes d_model"]) -> Float[Tensor, "*axes d_joint"]:
    """Return states in the joint space as if each were all that is read; unit norm.

    For read-outs without attention: LayerNorm, projection.
    """
    readout = tower.readout
    y = x if readout.pre is None else readout.pre(x)
    joint = readout.finish(y.flatten(0, -2)).unflatten(0, y.shape[:-1])
    return F.normalize(wide(joint), dim=-1)


def cosines(
    tower: Tower,
    features: Float[Tensor, "image token d_joint"],
    texts: Float[Tensor, "*image text d_joint"],
) -> Float[Tensor, "image text image_token"]:
    """Return ⟨f_i, t⟩ of image tokens (those before the picture left out) and texts."""
    return (features[:, tower.prefix :] @ texts.to(features.dtype).mT).mT
