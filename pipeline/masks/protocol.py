"""How a mask meets a map: `aligned`, through the picture's own geometry, or as published."""

from typing import Literal

import numpy as np
from jaxtyping import Int32
from PIL import Image

from schemas.errors import UsageError
from schemas.manifest import Preprocessing

Protocol = Literal["aligned", "reference"]


def mask_for_model(
    mask: Int32[np.ndarray, "height width"], preprocessing: Preprocessing, protocol: Protocol
) -> Int32[np.ndarray, "rows columns"]:
    """Return a mask at the model's picture size, nearest pixel.

    `aligned` resizes and crops it as the picture was. `reference` squashes the whole mask, while
    the picture was cropped: misaligned where pictures are not square, kept for comparison with
    published numbers.

    Raises:
        UsageError: pictures are resized in a way that has no counterpart for masks.
    """
    rows, columns = preprocessing.image_size
    picture = Image.fromarray(mask)
    if protocol == "reference" or preprocessing.resize_mode == "squash":
        return np.asarray(picture.resize((columns, rows), Image.Resampling.NEAREST))
    if preprocessing.resize_mode != "shortest" or rows != columns:
        raise UsageError(
            f"resize mode {preprocessing.resize_mode!r} to {columns} x {rows}: expected shortest "
            "and square, or squash; take protocol reference"
        )
    # torchvision's Resize and CenterCrop, rounding included
    short = min(picture.size)
    width, height = (int(rows * side / short) for side in picture.size)
    resized = picture.resize((width, height), Image.Resampling.NEAREST)
    left, top = round((width - columns) / 2), round((height - rows) / 2)
    return np.asarray(resized.crop((left, top, left + columns, top + rows)))
