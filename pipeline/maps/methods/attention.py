"""Maps from attention alone, the same for every text: raw attention and rollout."""

import torch
from jaxtyping import Float
from open_clip.transformer import VisionTransformer
from torch import Tensor

from pipeline.maps import blocks as bl
from pipeline.maps.base import (
    Maps,
    check_texts,
    first_tokens,
    grid_of,
    need_class_token,
    on_grid,
    wide,
)


def raw_attention(
    visual: VisionTransformer,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Maps:
    """Return the last layer's attention of the class token, mean over heads.

    `labels` is not used, and of `texts` only the number.
    """
    need_class_token(visual, "raw attention")
    x = bl.before_last(visual, first_tokens(visual, pixels))
    block = visual.transformer.resblocks[-1]
    q, k, v = bl.project(block, block.ln_1(x))
    row = bl.attention(q[:, :, :1], k).mean(dim=1)[:, 0]
    return _for_all(visual, pixels, texts, row, bl.class_after(block, x, q, k, v)[:, 0])


def rollout(
    visual: VisionTransformer,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
    first: int = 1,
) -> Maps:
    """Return attention rollout (Abnar and Zuidema, 2020): row cls of Â_L … Â_first.

    Â is mean_h A + I with rows that sum to 1. The usual evaluation leaves the first block out.
    `labels` is not used, and of `texts` only the number.
    """
    need_class_token(visual, "rollout")
    x = first_tokens(visual, pixels)
    one = torch.eye(x.shape[1], dtype=wide(x).dtype, device=x.device)
    rolled = one.expand(len(x), -1, -1)
    for layer, block in enumerate(visual.transformer.resblocks):
        q, k, v = bl.project(block, block.ln_1(x))
        a = bl.attention(q, k)
        if layer >= first:
            rolled = roll(rolled, a)
        x = bl.add_mlp(block, x + bl.merge_heads(block, a @ v))
    return _for_all(visual, pixels, texts, rolled[:, 0], x[:, 0])


def roll(
    rolled: Float[Tensor, "image query key"], a: Float[Tensor, "image n_heads query key"]
) -> Float[Tensor, "image query key"]:
    """Return Â · rolled, one layer more: Â is mean_h A + I with rows that sum to 1."""
    mean = wide(a).mean(dim=1)
    hat = mean + torch.eye(mean.shape[-1], dtype=mean.dtype, device=mean.device)
    return hat / hat.sum(dim=-1, keepdim=True) @ rolled


def _for_all(
    visual: VisionTransformer,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    row: Float[Tensor, "image token"],
    residual: Float[Tensor, "image d_model"],
) -> Maps:
    """Repeat one row of attention, class token left out, for each text."""
    check_texts(texts, len(pixels))
    values = row[:, None, 1:].expand(-1, texts.shape[-2], -1)
    return Maps(on_grid(values, grid_of(visual, pixels)), bl.to_joint(visual, residual))
