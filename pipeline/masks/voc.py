"""Pascal VOC: JPEGImages, SegmentationClass, and a list of names."""

from pathlib import Path

from pipeline.masks.base import Layout, MaskFiles, Request, need_names
from schemas.errors import SourceError
from schemas.text import read_lines

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa"),
    *("train", "tv monitor"),
)


def open_voc(request: Request) -> MaskFiles:
    """List the pictures of ImageSets/Segmentation/val.txt; a palette's index is a class.

    Raises:
        SourceError: the list is missing.
        UsageError: names are given, but not one for each class.
    """
    root = _folder(request.root)
    listing = root / "ImageSets" / "Segmentation" / "val.txt"
    if not listing.is_file():
        raise SourceError(f"{listing} is missing; it lists the pictures")
    keys = tuple(line.strip() for line in read_lines(listing, "a name per line") if line.strip())
    return MaskFiles(
        tuple(root / "JPEGImages" / f"{key}.jpg" for key in keys),
        tuple(root / "SegmentationClass" / f"{key}.png" for key in keys),
        keys,
        (None,) * len(keys),
        need_names(request.classes or VOC_CLASSES, len(VOC_CLASSES), "VOC", "the palette's order"),
        by_class=True,
    )


def _folder(root: Path) -> Path:
    """Return the year's folder of a whole VOCdevkit, or the folder itself."""
    return next(iter(sorted(root.glob("VOCdevkit/VOC20??"))), root)


LAYOUT = Layout(
    "VOC",
    "JPEGImages/ and SegmentationClass/ (VOC)",
    lambda root: (_folder(root) / "SegmentationClass").is_dir(),
    open_voc,
)
