"""Training-free segmentation by another attention in the last block.

One operator, four methods: MaskCLIP (arXiv 2112.01071), SCLIP (2312.01597), ClearCLIP (2407.12442)
and NACLIP (2404.08181). Only what image tokens receive in the last block is changed; the embedding
is computed beside it, as the model does.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.maps import blocks as bl
from pipeline.maps.base import Maps, first_tokens, grid_of, on_grid
from pipeline.maps.method import CLASS_TOKEN, map_method
from pipeline.towers.tower import Tower

# Width of NACLIP's window, in patches.
NEAR = 5.0

Operator = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Queries, keys and values [image, head, token, d_head] to heads' outputs."""


@map_method(
    "maskclip",
    title="MaskCLIP",
    shows="last block: every token attends to itself alone (its values)",
    source="arXiv 2112.01071",
    towers=CLASS_TOKEN,
)
def maskclip(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Maps:
    """Return MaskCLIP: every token attends to itself alone (values only). `labels` is not used."""
    return _last_block(tower, pixels, texts, lambda q, k, v: v)


@map_method(
    "sclip",
    title="SCLIP",
    shows="last block: attention softmax(qqᵀs) + softmax(kkᵀs)",
    source="arXiv 2312.01597",
    towers=CLASS_TOKEN,
)
def sclip(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Maps:
    """Return SCLIP: attention softmax(qqᵀs) + softmax(kkᵀs). `labels` is not used."""

    def operator(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (bl.attention(q, q) + bl.attention(k, k)) @ v

    return _last_block(tower, pixels, texts, operator)


@map_method(
    "clearclip",
    title="ClearCLIP",
    shows="last block: attention softmax(qqᵀs), no residual, no MLP",
    source="arXiv 2407.12442",
    towers=CLASS_TOKEN,
)
def clearclip(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Maps:
    """Return ClearCLIP: attention softmax(qqᵀs), no residual, no MLP. `labels` is not used."""

    def operator(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return bl.attention(q, q) @ v

    return _last_block(tower, pixels, texts, operator, alone=True)


@map_method(
    "naclip",
    title="NACLIP",
    shows="last block: attention softmax(kkᵀs + nearness), no residual, no MLP",
    source="arXiv 2404.08181",
    towers=CLASS_TOKEN,
)
def naclip(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
) -> Maps:
    """Return NACLIP: attention softmax(kkᵀs + nearness), no residual, no MLP.

    `labels` is not used.
    """

    near = nearness(grid_of(tower, pixels), tower.prefix)

    def operator(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return bl.attention(k, k, near.to(k)) @ v

    return _last_block(tower, pixels, texts, operator, alone=True)


def nearness(grid: tuple[int, int], prefix: int) -> Float[Tensor, "token token"]:
    """Return exp(−distance² / 2σ²) between patches, σ = 5 patches; 0 for the tokens before them."""
    rows, columns = torch.meshgrid(
        torch.arange(grid[0]).double(), torch.arange(grid[1]).double(), indexing="ij"
    )
    places = torch.stack([rows.flatten(), columns.flatten()], dim=1)
    near = torch.exp(-torch.cdist(places, places).square() / (2 * NEAR**2))
    return torch.nn.functional.pad(near, (prefix, 0, prefix, 0))


def _last_block(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    operator: Operator,
    *,
    alone: bool = False,
) -> Maps:
    """Return cosines of tokens after a last block with `operator` in place of attention.

    With `alone`, the block's residual and MLP are left out.
    """
    grid = grid_of(tower, pixels)
    x = bl.before_last(tower, first_tokens(tower, pixels))
    block = tower.blocks[-1]
    q, k, v = block.qkv(x)
    o = operator(q, k, v)
    features = bl.to_joint(tower, block.write(o).update if alone else bl.add(block, x, o))
    embedding = bl.embedding(tower, bl.first_after(block, x))
    return Maps(on_grid(bl.cosines(tower, features, texts), grid), embedding)
