"""The steps of a transformer block, one function each, for methods that change some of them."""

from collections.abc import Sequence

from jaxtyping import Float
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from pipeline.maps.base import wide


def project(
    block: ResidualAttentionBlock, x: Float[Tensor, "image token d_model"]
) -> tuple[
    Float[Tensor, "image n_heads token d_head"],
    Float[Tensor, "image n_heads token d_head"],
    Float[Tensor, "image n_heads token d_head"],
]:
    """Return queries, keys and values of tokens that ln_1 has normalised."""
    attn = block.attn
    projected = F.linear(x, attn.in_proj_weight, attn.in_proj_bias)
    q, k, v = projected.unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
    return q, k, v


def attention(
    q: Float[Tensor, "image n_heads query d_head"],
    k: Float[Tensor, "image n_heads key d_head"],
    mask: Float[Tensor, "query key"] | None = None,
) -> Float[Tensor, "image n_heads query key"]:
    """Return attention probabilities, softmax(q kᵀ / √d_head [+ mask])."""
    # scaled before the product, which half precision could not hold
    scores = q * q.shape[-1] ** -0.5 @ k.mT
    return (scores if mask is None else scores + mask).softmax(dim=-1)


def merge_heads(
    block: ResidualAttentionBlock, o: Float[Tensor, "image n_heads token d_head"]
) -> Float[Tensor, "image token d_model"]:
    """Return what heads' outputs add to the residual stream: out_proj, then LayerScale."""
    return block.ls_1(block.attn.out_proj(o.transpose(1, 2).flatten(2)))


def add_mlp(
    block: ResidualAttentionBlock, x: Float[Tensor, "image token d_model"]
) -> Float[Tensor, "image token d_model"]:
    """Return the residual stream after the block's MLP."""
    return x + block.ls_2(block.mlp(block.ln_2(x)))


def after(
    block: ResidualAttentionBlock, x: Float[Tensor, "image token d_model"]
) -> Float[Tensor, "image token d_model"]:
    """Return the residual stream after a whole block, as the model computes it."""
    q, k, v = project(block, block.ln_1(x))
    return add_mlp(block, x + merge_heads(block, F.scaled_dot_product_attention(q, k, v)))


def class_after(
    block: ResidualAttentionBlock,
    x: Float[Tensor, "image token d_model"],
    q: Float[Tensor, "image n_heads token d_head"],
    k: Float[Tensor, "image n_heads token d_head"],
    v: Float[Tensor, "image n_heads token d_head"],
) -> Float[Tensor, "image 1 d_model"]:
    """Return the class token alone after a block: all that the last one is needed for."""
    o = F.scaled_dot_product_attention(q[:, :, :1], k, v)
    return add_mlp(block, x[:, :1] + merge_heads(block, o))


def before_last(
    visual: VisionTransformer, x: Float[Tensor, "image token d_model"]
) -> Float[Tensor, "image token d_model"]:
    """Return the residual stream that the last block receives."""
    blocks: Sequence[ResidualAttentionBlock] = visual.transformer.resblocks
    for block in blocks[:-1]:
        x = after(block, x)
    return x


def to_joint(
    visual: VisionTransformer, x: Float[Tensor, "*axes d_model"]
) -> Float[Tensor, "*axes d_joint"]:
    """Return residual-stream states in the joint space, unit norm: ln_post, projection."""
    joint = visual.ln_post(x) @ visual.proj
    return F.normalize(wide(joint), dim=-1)


def cosines(
    features: Float[Tensor, "image token d_joint"], texts: Float[Tensor, "*image text d_joint"]
) -> Float[Tensor, "image text image_token"]:
    """Return ⟨f_i, t⟩ of image tokens (the class token, first, left out) and texts."""
    return (features[:, 1:] @ texts.to(features.dtype).mT).mT
