"""The one step after every method: min-max, resize, threshold; and points for a segmenter."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
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

    The map is averaged over windows of 2 x 2 cells, which share out the grid: on an odd side the
    last window is 1 cell wide. Then it is min-maxed; n windows reach the threshold, at most half of
    all; the n highest and n lowest become points at their centres (CLIP Surgery, section 4). Of a
    window whose cells differ, the point is at the centre of the one that stands out most, so that
    one hot cell gives a point on it.
    """
    rows, columns = values.shape
    # windows at the border average the cells that there are
    small = F.avg_pool2d(values[None, None], 2, ceil_mode=True, count_include_pad=False)
    flat = min_max(small)[0, 0].flatten()
    n = min(int((flat >= POINT_THRESHOLD).sum()), len(flat) // 2)
    order = flat.argsort(descending=True, stable=True).tolist()

    def centre(window: int, sign: int) -> tuple[float, float]:
        down, across = divmod(window, small.shape[-1])
        cells = sign * values[2 * down : 2 * down + 2, 2 * across : 2 * across + 2]
        found = (cells == cells.max()).nonzero().double()
        # all that stand out alike: a window of one value gives its own centre
        row, column = (found.mean(dim=0) + found.new_tensor([2 * down, 2 * across])).tolist()
        return (column + 0.5) * width / columns, (row + 0.5) * height / rows

    highest = tuple(centre(window, 1) for window in order[:n])
    return Points(highest, tuple(centre(window, -1) for window in order[::-1][:n]))
