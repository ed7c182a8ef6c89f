"""The one step after every method: min-max, resize, threshold; and points for a segmenter."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

# A map value, min-maxed, from which a cell may become a positive point (METHODS.md).
POINT_THRESHOLD = 0.8


def min_max(
    values: Float[Tensor, "*axes height width"],
) -> Float[Tensor, "*axes height width"]:
    """Scale each map to 0..1; a map of one value everywhere becomes 0."""
    low = values.amin(dim=(-2, -1), keepdim=True)
    span = values.amax(dim=(-2, -1), keepdim=True) - low
    return torch.where(span > 0, (values - low) / span.where(span > 0, 1), 0)


def resize(
    values: Float[Tensor, "image text grid_h grid_w"], size: tuple[int, int]
) -> Float[Tensor, "image text height width"]:
    """Return the maps at another size, bilinear, cell centres kept."""
    return F.interpolate(values, size=size, mode="bilinear", align_corners=False)


def above_mean(
    values: Float[Tensor, "*axes height width"],
) -> Bool[Tensor, "*axes height width"]:
    """Return where a map is above its own mean: the foreground of the published evaluations."""
    return values > values.mean(dim=(-2, -1), keepdim=True)


@dataclass(frozen=True)
class Points:
    """Prompts for a promptable segmenter, (x, y) in pixels of the original picture.

    Attributes:
        positive: strongest first.
        negative: weakest first, as many.
    """

    positive: tuple[tuple[float, float], ...]
    negative: tuple[tuple[float, float], ...]


def points(values: Float[Tensor, "grid_h grid_w"], width: int, height: int) -> Points:
    """Choose points from one map that covers a picture of `width` x `height` pixels.

    The map is averaged over 2 x 2 cells and min-maxed; n cells reach the threshold, at most half
    of all; the n highest and n lowest become points at their centres (CLIP Surgery, section 4).
    """
    rows, columns = (max(1, side // 2) for side in values.shape)
    small = F.adaptive_avg_pool2d(values[None, None], (rows, columns))
    flat = min_max(small)[0, 0].flatten()
    n = min(int((flat >= POINT_THRESHOLD).sum()), len(flat) // 2)
    order = flat.argsort(descending=True, stable=True).tolist()

    def centre(cell: int) -> tuple[float, float]:
        row, column = divmod(cell, columns)
        return (column + 0.5) * width / columns, (row + 0.5) * height / rows

    lowest = order[::-1][:n]
    return Points(tuple(map(centre, order[:n])), tuple(map(centre, lowest)))
