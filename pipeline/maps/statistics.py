"""Maps at the scale of a data set: a few numbers per picture, head and text, never the maps.

A part of one layer's maps of one batch is there at a time, [image, head, token, text], and is
reduced at once; what is kept is [image, layer, head, text].
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.maps.base import as_tower, grid_of
from pipeline.maps.methods.contribution import CELLS, each_layer
from pipeline.towers.tower import Tower
from schemas.errors import UsageError


@dataclass(frozen=True)
class HeadMapStatistics:
    """How every head's contribution map of every text is spread over the image tokens.

    Attributes:
        total: sum of the map, in units of cosine.
        magnitude: sum of its absolute values.
        focus: 1 − entropy / log(tokens) of the absolute values: 0 spread evenly (or a map of
            zeros), 1 on one token.
        total_in: the part of `total` that lies in each region.
        magnitude_in: the part of `magnitude` that lies in each region.
        area: share of the tokens in each region.
        tokens: how many image tokens there are.
    """

    total: Float[Tensor, "image layer head text"]
    magnitude: Float[Tensor, "image layer head text"]
    focus: Float[Tensor, "image layer head text"]
    total_in: Float[Tensor, "image region layer head text"]
    magnitude_in: Float[Tensor, "image region layer head text"]
    area: Float[Tensor, "image region"]
    tokens: int

    @property
    def effective_tokens(self) -> Float[Tensor, "image layer head text"]:
        """Tokens in use: exp of the entropy."""
        return torch.exp((1 - self.focus) * math.log(self.tokens))

    @property
    def on_mask(self) -> Float[Tensor, "image region layer head text"]:
        """Share of the absolute values in each region; 0 for a map of zeros."""
        return self.magnitude_in / _nonzero(self.magnitude)[:, None]

    @property
    def positive_in(self) -> Float[Tensor, "image region layer head text"]:
        """Sum of the positive values in each region, in units of cosine."""
        return (self.total_in + self.magnitude_in) / 2


def head_map_statistics(
    tower: Tower | nn.Module,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "text d_joint"],
    labels: Float[Tensor, "label d_joint"],
    regions: Float[Tensor, "image region height width"],
    layers: Sequence[int],
    cells: int = CELLS,
) -> HeadMapStatistics:
    """Reduce every head's map of every text.

    Args:
        tower: the image encoder.
        pixels: preprocessed pictures.
        texts: unit norm.
        labels: what the texts are compared with: their mean is subtracted.
        regions: 1 inside, of the pictures' size, averaged over each patch; there may be none.
        layers: layers whose heads are reduced, in this order.
        cells: numbers of a layer's maps that are there at a time.
    """
    tower = as_tower(tower)
    grid = grid_of(tower, pixels)
    tokens = grid[0] * grid[1]
    wide = torch.promote_types(pixels.dtype, torch.float32)
    inside = regions.new_zeros(*regions.shape[:2], tokens)
    if regions.shape[1]:
        inside = torch.nn.functional.adaptive_avg_pool2d(regions, grid).flatten(2)
    inside = inside.to(pixels.device, wide)
    pool = tower.readout.pool
    if pool is not None and set(layers) != {tower.pool_layer}:
        raise UsageError(
            f"layers {list(layers)}: this image encoder's maps are of its pool's heads, layer "
            f"{tower.pool_layer}"
        )
    n_heads = tower.blocks[0].n_heads if pool is None else pool.n_heads
    shape = (len(layers), n_heads, len(texts))
    total, magnitude, focus = pixels.new_zeros(3, len(pixels), *shape, dtype=wide)
    total_in, magnitude_in = pixels.new_zeros(2, *inside.shape[:2], *shape, dtype=wide)
    place = {layer: i for i, layer in enumerate(layers)}

    def reduce(layer: int, some: slice, values: Tensor) -> None:
        values = values.to(wide)
        size = values.abs()
        at = (slice(None), place[layer], slice(None), some)
        among = (slice(None), *at)
        total[at] = values.sum(dim=2)
        magnitude[at] = size.sum(dim=2)
        if inside.shape[1]:
            total_in[among] = torch.einsum("bhit,bri->brht", values, inside)
            magnitude_in[among] = torch.einsum("bhit,bri->brht", size, inside)
        share = size / _nonzero(magnitude[at])[:, :, None]
        entropy = -torch.xlogy(share, share).sum(dim=2)
        spread = 1 - entropy / math.log(max(tokens, 2))
        focus[at] = torch.where(magnitude[at] > 0, spread, 0)

    scale = each_layer(tower, pixels, texts, labels, reduce, layers, cells)
    scale = scale.to(wide)[:, None, None, None]
    return HeadMapStatistics(
        total * scale,
        magnitude * scale,
        focus,
        total_in * scale[:, None],
        magnitude_in * scale[:, None],
        inside.mean(dim=2),
        tokens,
    )


def _nonzero(magnitude: Tensor) -> Tensor:
    return magnitude.clamp_min(torch.finfo(magnitude.dtype).tiny)
