"""Attention rollout (Abnar and Zuidema, 2020), the same for every text."""

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.maps import blocks as bl
from pipeline.maps.base import Maps, first_tokens, for_all_texts, wide
from pipeline.maps.method import CLASS_TOKEN, Option, map_method, whole
from pipeline.towers.tower import Tower

FIRST = Option(
    "first", "1", whole, "the first layer that is rolled in, from 0; usually the first is left out"
)


@map_method(
    "rollout",
    title="rollout",
    shows="product over layers of mean attention + identity, rows summing to 1; row cls",
    source="arXiv 2005.00928",
    by_text=False,
    needs="attention",
    towers=CLASS_TOKEN,
    options=(FIRST,),
)
def rollout(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
    *,
    first: int,
) -> Maps:
    """Return row cls of Â_L … Â_first, Â = mean_h A + I with rows that sum to 1.

    `labels` is not used, and of `texts` only the number.
    """
    x = first_tokens(tower, pixels)
    one = torch.eye(x.shape[1], dtype=wide(x).dtype, device=x.device)
    rolled = one.expand(len(x), -1, -1)
    for layer, block in enumerate(tower.blocks):
        y = block.norm(x)
        q, k, v = block.project(y, None)
        a = block.alpha(q, k)
        if layer >= first:
            rolled = roll(rolled, a)
        x = bl.add(block, x, block.gated(a @ v, y))
    return for_all_texts(tower, pixels, texts, rolled[:, 0], bl.embedding(tower, x))


def roll(
    rolled: Float[Tensor, "image query key"], a: Float[Tensor, "image n_heads query key"]
) -> Float[Tensor, "image query key"]:
    """Return Â · rolled, one layer more: Â is mean_h A + I with rows that sum to 1."""
    mean = wide(a).mean(dim=1)
    hat = mean + torch.eye(mean.shape[-1], dtype=mean.dtype, device=mean.device)
    return hat / hat.sum(dim=-1, keepdim=True) @ rolled
