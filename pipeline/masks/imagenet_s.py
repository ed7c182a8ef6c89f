"""ImageNet-S: pictures of ImageNet's validation set, masks of up to 919 classes in two channels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int32
from PIL import Image

from pipeline.masks.base import (
    IGNORE,
    Example,
    Layout,
    Request,
    need_names,
    paired,
    pictures_in,
    read_picture,
)
from pipeline.pictures.decode import EXACT, Decoding
from schemas.errors import SourceError

PICTURES, MASKS = "validation", "validation-segmentation"
# The class that ImageNet-S writes for pixels that count for nothing.
NEITHER = 1000


@dataclass(frozen=True)
class ImageNetS:
    """validation/SYNSET/NAME.JPEG with validation-segmentation/SYNSET/NAME.png.

    A mask's class is R + 256 G: 0 for whatever has no class, 1000 for what counts for nothing.
    """

    root: Path
    keys: tuple[str, ...]
    labels: tuple[str | None, ...]
    classes: tuple[str, ...]
    by_class: bool = True

    def read(self, index: int, how: Decoding = EXACT) -> Example:
        """Read a pair."""
        key = Path(self.keys[index])
        found = read_picture(self.root / PICTURES / key, how)
        mask = _two_bytes(self.root / MASKS / key.with_suffix(".png"))
        return paired(found, mask, self.keys[index], len(self.classes))


def open_imagenet_s(request: Request) -> ImageNetS:
    """List the validation pictures; the classes asked for name its synsets in sorted order.

    Raises:
        SourceError: a folder is missing, or a picture has no mask.
        UsageError: there is not one name for each synset.
    """
    root = request.root
    for part in (PICTURES, MASKS):
        if not (root / part).is_dir():
            raise SourceError(f"{root / part} is missing; ImageNet-S has {PICTURES}/ and {MASKS}/")
    pictures = pictures_in(root / PICTURES)
    masks = {path.with_suffix("") for path in pictures_in(root / MASKS)}
    lone = [p.as_posix() for p in pictures if p.with_suffix("") not in masks]
    if lone or not pictures:
        said = f"{lone[0]} has no mask" if lone else "no picture"
        raise SourceError(f"{root / PICTURES}: {said}; expected {MASKS}/SYNSET/NAME.png for each")
    synsets = sorted({p.parts[0] for p in pictures})
    names = need_names(
        request.classes,
        len(synsets),
        f"{root.name} with its synsets",
        "sorted order of the synsets",
    )
    keys = tuple(p.as_posix() for p in pictures)
    return ImageNetS(root, keys, (None,) * len(keys), names)


def _two_bytes(path: Path) -> Int32[np.ndarray, "height width"]:
    try:
        with Image.open(path) as opened:
            if opened.mode not in ("RGB", "RGBA"):
                raise SourceError(f"mask {path} is {opened.mode}; expected RGB, class = R + 256 G")
            parts = np.asarray(opened, dtype=np.int32)
    except OSError as error:
        raise SourceError(f"cannot read mask {path}: {error}") from None
    mask: np.ndarray = parts[..., 0] + 256 * parts[..., 1]
    mask[mask == NEITHER] = IGNORE
    return mask


LAYOUT = Layout(
    "ImageNet-S",
    "validation/ and validation-segmentation/ (ImageNet-S)",
    lambda root: (root / MASKS).is_dir(),
    open_imagenet_s,
)
