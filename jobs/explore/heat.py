"""A map over its picture, for the pages: the one that `headatlas map` makes, and nothing else."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from jobs.steps.chosen import heads_to_map
from pipeline.maps.drawing import limits
from pipeline.maps.method import logit_scale_of
from pipeline.maps.methods.contribution import head_contributions
from pipeline.maps.picture import picture_for
from pipeline.maps.registry import DECLARED, Given, method_named
from schemas.errors import UnknownName, UsageError
from schemas.names import parse_head

if TYPE_CHECKING:
    from pipeline.towers.models import LoadedModel

SIDE = 480
METHOD = "contribution"


@dataclass(frozen=True)
class Asked:
    """What a map is asked for.

    Attributes:
        text: what to look for.
        against: another text, whose map is taken off; empty for none.
        method: one of the registry's.
        head: one head, by name; empty for what the method does with all of them.
    """

    text: str = ""
    against: str = ""
    method: str = METHOD
    head: str = ""


def draw(
    model: "LoadedModel", picture: Image.Image, asked: Asked, given: Given | None = None
) -> Image.Image:
    """Return the picture under its map: violet to yellow, or blue over white to red around 0.

    Args:
        model: of the scan.
        picture: as the model is to see it.
        asked: by a reader.
        given: options of methods by whoever started the explorer: what they need beside the model.

    Raises:
        UnknownName: there is no such method.
        UnsupportedModel: the method does not hold for this image encoder.
        UsageError: there is no such head; the method has no map of one; it is the same for all
            texts, and another is given; or it needs what has not been given.
    """
    from matplotlib import colormaps

    values, signed = values_of(model, picture, asked, given)
    numbers = values.float().cpu().numpy()
    low, high = limits([numbers], signed)
    scale = SIDE / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    grey = Image.fromarray(np.uint8(255 * (numbers - low) / (high - low)))
    shades = np.asarray(grey.resize(size, Image.Resampling.BICUBIC)) / 255
    coloured = colormaps["RdBu_r" if signed else "viridis"](shades)[..., :3]
    over = Image.fromarray(np.uint8(255 * coloured))
    return Image.blend(picture.convert("RGB").resize(size), over, 0.62)


def values_of(
    model: "LoadedModel", picture: Image.Image, asked: Asked, given: Given | None = None
) -> tuple[Float[Tensor, "grid_h grid_w"], bool]:
    """Return the map, and whether its zero has a meaning."""
    if asked.method not in DECLARED:
        # by name alone: an option of a method may be a path, and a page reads no path
        raise UnknownName.among("map method", asked.method, DECLARED)
    method, tower = method_named(asked.method, given), model.tower
    if asked.against:
        method.check_contrast()
    said = [text for text in (asked.text, asked.against) if text]
    pixels = picture_for(tower, picture, model.record.preprocessing)
    pixels = pixels.to(model.device, model.dtype)
    texts, labels = (
        model.encode_text(list(some)).to(model.device, model.dtype) for some in (said, method.alone)
    )
    if asked.head:
        if not method.by_head:
            raise UsageError(f"method {method.name} has no map of one head; leave the head out")
        heads_to_map(model, names=[asked.head])
        maps = head_contributions(tower, pixels, texts, labels, [parse_head(asked.head)])[0, 0]
    else:
        scale = logit_scale_of(model.clip)
        maps = method.run(tower, pixels, texts, labels, logit_scale=scale).values[0]
    return (maps[0] - maps[1], True) if asked.against else (maps[0], method.signed)
