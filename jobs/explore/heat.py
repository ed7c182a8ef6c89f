"""A heat map over its picture, for the pages: one map, in the perceptual scale, nothing else."""

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pipeline.maps.background import BACKGROUND
from pipeline.maps.methods.contribution import head_contributions
from pipeline.maps.picture import whole_picture
from pipeline.maps.registry import method_named
from schemas.names import parse_head

if TYPE_CHECKING:
    from pipeline.towers.models import LoadedModel

SIDE = 480


def draw(
    model: "LoadedModel", picture: Image.Image, text: str, method: str, head: str | None
) -> Image.Image:
    """Return the picture under the map of `text`: of one head, or of all by a method.

    Raises:
        UnknownName: there is no such method.
        UsageError: the head's name is none.
    """
    from matplotlib import colormaps

    patch = (model.visual.patch_size[0], model.visual.patch_size[1])
    pixels = whole_picture(picture, model.record.preprocessing, patch, None)
    pixels = pixels.to(model.device, model.dtype)
    texts = model.encode_text([text]).to(model.device, model.dtype)
    labels = model.encode_text(list(BACKGROUND)).to(model.device, model.dtype)
    if head:
        values = head_contributions(model.visual, pixels, texts, labels, [parse_head(head)])[
            0, 0, 0
        ]
    else:
        values = method_named(method).run(model.visual, pixels, texts, labels).values[0, 0]
    numbers = values.float().cpu().numpy()
    low, high = float(numbers.min()), float(numbers.max())
    scaled = (numbers - low) / (high - low) if high > low else np.zeros_like(numbers)
    scale = SIDE / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    grey = Image.fromarray(np.uint8(255 * scaled)).resize(size, Image.Resampling.BICUBIC)
    coloured = Image.fromarray(
        np.uint8(255 * colormaps["viridis"](np.asarray(grey) / 255)[..., :3])
    )
    return Image.blend(picture.convert("RGB").resize(size), coloured, 0.62)
