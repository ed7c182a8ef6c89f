"""A whole picture as pixels for the image encoder: nothing cropped, its sides multiples of a patch.

For a square picture at the model's own size this is open_clip's transform.
"""

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as VF

from pipeline.maps.base import any_size, own_size, patch_of
from pipeline.towers.tower import Tower
from schemas.errors import UsageError
from schemas.manifest import Preprocessing

# A picture longer than this many times its short side is squeezed to it.
LONGEST = 4.0


def grid_for(width: int, height: int, patch: tuple[int, int], short_side: int) -> tuple[int, int]:
    """Return rows and columns of patches that cover a picture whose short side is `short_side`.

    Both sides are rounded to whole patches, so that the picture is stretched by half a patch at
    most (and squeezed if it is more than four times as long as it is wide).

    Raises:
        UsageError: the short side is smaller than a patch.
    """
    if short_side < max(patch):
        raise UsageError(f"size {short_side}: expected at least a patch, {max(patch)} pixels")
    longest = short_side * LONGEST
    scale = short_side / min(width, height)
    sides = (min(height * scale, longest), min(width * scale, longest))
    rows, columns = (max(1, round(side / p)) for side, p in zip(sides, patch, strict=True))
    return rows, columns


def whole_picture(
    picture: Image.Image,
    preprocessing: Preprocessing,
    patch: tuple[int, int],
    short_side: int | None = None,
) -> Float[Tensor, "1 3 height width"]:
    """Return an RGB picture as normalised pixels, its aspect kept.

    Args:
        picture: of any size.
        preprocessing: the model's means, deviations and interpolation.
        patch: height and width of a patch.
        short_side: in pixels; default, the short side of the model's own pictures.
    """
    short_side = short_side or min(preprocessing.image_size)
    rows, columns = grid_for(picture.width, picture.height, patch, short_side)
    filters = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
    filter_ = filters.get(preprocessing.interpolation, Image.Resampling.BICUBIC)
    resized = VF.to_image(picture.resize((columns * patch[1], rows * patch[0]), filter_))
    pixels = VF.to_dtype(resized, torch.float32, scale=True)
    return VF.normalize(pixels, list(preprocessing.mean), list(preprocessing.std))[None]


def picture_for(
    tower: Tower, picture: Image.Image, preprocessing: Preprocessing, short_side: int | None = None
) -> Float[Tensor, "1 3 height width"]:
    """Return a whole picture for a tower: squeezed to its own size where it takes no other.

    Raises:
        UsageError: another size is asked of a tower that takes its own alone; or it is smaller
            than a patch.
    """
    if any_size(tower):
        return whole_picture(picture, preprocessing, patch_of(tower), short_side)
    height, width = own_size(tower)
    if short_side not in (None, min(height, width)):
        raise UsageError(f"size {short_side}: {tower.family} takes {height} alone")
    return whole_picture(picture.resize((width, height)), preprocessing, (1, 1))
