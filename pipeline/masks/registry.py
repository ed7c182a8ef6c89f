"""Pictures with masks, in the layouts that the field uses: one of them recognised by its files."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.masks.base import IGNORE, Example, Labelled
from pipeline.masks.coco import is_coco, open_coco
from pipeline.masks.imagenet import MASKS as IMAGENET_S_MASKS
from pipeline.masks.imagenet import open_imagenet_s, open_mat
from pipeline.masks.pairs import open_pairs
from pipeline.masks.voc import open_voc
from pipeline.masks.waterbirds import is_waterbirds, open_waterbirds
from schemas.errors import SourceError, UsageError

__all__ = ["IGNORE", "Example", "Labelled", "open_data"]

EXPECTED = (
    "images/ and masks/ (pairs), JPEGImages/ and SegmentationClass/ (VOC), validation/ and "
    "validation-segmentation/ (ImageNet-S), annotations/instances_*.json (COCO), metadata.csv "
    "with y, split and place, and segmentations/ (Waterbirds), or a .mat file of "
    "ImageNet-Segmentation"
)


def open_data(
    root: Path, labels: str | None = None, classes: Sequence[str] = (), *, class_masks: bool = False
) -> Labelled:
    """Recognise a data set by its files.

    Args:
        root: its folder; or a .mat file of ImageNet-Segmentation, or an instances file of COCO.
        labels: column of metadata.csv, for folder pairs.
        classes: names that can be asked for; default, the labels or the data set's own. For
            ImageNet-Segmentation and ImageNet-S, the names of the synsets in sorted order.
        class_masks: the masks of folder pairs hold classes, from 1 in the order of `classes`.

    Raises:
        SourceError: it is none of these, or a part is missing.
        UsageError: no class names are known, or an option does not go with the layout.
    """
    pairs = (root / "images").is_dir() and (root / "masks").is_dir()
    if not root.exists():
        raise SourceError(f"{root} does not exist; expected {EXPECTED}")
    if not pairs and (labels is not None or class_masks):
        given = "labels" if labels is not None else "masks"
        raise UsageError(f"{given}: only a folder with images/ and masks/ takes it, not {root}")
    if root.is_file() and root.suffix == ".mat":
        return open_mat(root, classes)
    if is_coco(root):
        return open_coco(root, classes)
    voc = next(iter(sorted(root.glob("VOCdevkit/VOC20??"))), root)
    if (voc / "SegmentationClass").is_dir():
        return open_voc(voc, classes)
    if pairs:
        return open_pairs(root, labels, classes, by_class=class_masks)
    if (root / IMAGENET_S_MASKS).is_dir():
        return open_imagenet_s(root, classes)
    if is_waterbirds(root):
        return open_waterbirds(root, classes)
    raise SourceError(f"{root}: expected {EXPECTED}")
