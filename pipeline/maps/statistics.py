"""Maps at the scale of a data set: a few numbers per picture, head and text, never the maps.

One layer's maps of one batch are there at a time, [image, head, token, text], and are reduced at
once; what is kept is [image, layer, head, text].
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from open_clip.transformer import VisionTransformer
from torch import Tensor

from pipeline.maps.base import grid_of
from pipeline.maps.contribution import each_layer


@dataclass(frozen=True)
class HeadMapStatistics:
    """How every head's contribution map of every text is spread.

    Attributes:
        total: sum of the map over image tokens, in units of cosine.
        magnitude: sum of its absolute values.
        focus: 1 − entropy / log(tokens) of the absolute values: 0 spread evenly, 1 on one token.
        on_mask: share of the absolute values that lies in the mask; NaN without masks.
    """

    total: Float[Tensor, "image n_layers n_heads text"]
    magnitude: Float[Tensor, "image n_layers n_heads text"]
    focus: Float[Tensor, "image n_layers n_heads text"]
    on_mask: Float[Tensor, "image n_layers n_heads text"]


def head_map_statistics(
    visual: VisionTransformer,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "text d_joint"],
    labels: Float[Tensor, "label d_joint"],
    masks: Float[Tensor, "image height width"] | None = None,
) -> HeadMapStatistics:
    """Reduce every head's map of every text.

    Args:
        visual: the image encoder.
        pixels: preprocessed pictures.
        texts: unit norm.
        labels: what the texts are compared with: their mean is subtracted.
        masks: 1 in the foreground, of the pictures' size; averaged over each patch.
    """
    grid = grid_of(visual, pixels)
    inside = None
    if masks is not None:
        inside = torch.nn.functional.adaptive_avg_pool2d(masks[:, None], grid).flatten(1)
    rows: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    def reduce(values: Tensor) -> None:
        size = values.abs()
        magnitude = size.sum(dim=2)
        share = size / magnitude.clamp_min(torch.finfo(size.dtype).tiny)[:, :, None]
        entropy = -torch.xlogy(share, share).sum(dim=2)
        on = torch.full_like(magnitude, torch.nan)
        if inside is not None:
            on = torch.einsum("bhit,bi->bht", share, inside.to(share))
        limit = torch.log(torch.tensor(float(max(size.shape[2], 2))))
        rows.append((values.sum(dim=2), magnitude, 1 - entropy / limit, on))

    scale = each_layer(visual, pixels, texts, labels, reduce)[:, None, None, None]
    total, magnitude, focus, on_mask = (
        torch.stack(part, dim=1) for part in zip(*rows, strict=True)
    )
    return HeadMapStatistics(total * scale, magnitude * scale, focus, on_mask)
