"""Pascal VOC: JPEGImages, SegmentationClass, and a list of names."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.masks.base import (
    Example,
    checked,
    class_mask,
    need_names,
    read_indices,
    read_picture,
)
from schemas.errors import SourceError
from schemas.text import read_lines

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa"),
    *("train", "tv monitor"),
)


@dataclass(frozen=True)
class Voc:
    """The pictures of ImageSets/Segmentation/val.txt."""

    root: Path
    keys: tuple[str, ...]
    labels: tuple[str | None, ...]
    classes: tuple[str, ...] = VOC_CLASSES
    by_class: bool = True

    def read(self, index: int) -> Example:
        """Read a pair; the palette's indices are classes, 255 the outline that is ignored."""
        name = self.keys[index]
        picture = read_picture(self.root / "JPEGImages" / f"{name}.jpg")
        values = read_indices(self.root / "SegmentationClass" / f"{name}.png")
        return checked(Example(picture, class_mask(values)), name, len(self.classes))


def open_voc(root: Path, classes: Sequence[str]) -> Voc:
    """List the pictures of the validation set.

    Raises:
        SourceError: the list is missing.
        UsageError: names are given, but not one for each class.
    """
    listing = root / "ImageSets" / "Segmentation" / "val.txt"
    if not listing.is_file():
        raise SourceError(f"{listing} is missing; it lists the pictures")
    keys = tuple(line.strip() for line in read_lines(listing, "a name per line") if line.strip())
    names = need_names(classes or VOC_CLASSES, len(VOC_CLASSES), "VOC", "the palette's order")
    return Voc(root, keys, (None,) * len(keys), names)
