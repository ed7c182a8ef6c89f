"""COCO: annotations/instances_SPLIT.json over the pictures of SPLIT/ or images/SPLIT/.

Masks are drawn from the instances, larger ones first, so that a pixel belongs to the smallest
instance over it: within half a pixel of pycocotools' outlines, and equal to it on run lengths.
Which classes a picture has comes from its annotations, not from those pixels.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw

from pipeline.masks.base import Example, checked, need_names, read_picture
from schemas.errors import SourceError
from schemas.text import decode_text

NAMED = "instances_*.json"
# Polygons are drawn so many times larger; a pixel is inside if half of its parts are.
FINER = 8


@dataclass(frozen=True)
class Coco:
    """The pictures of one instances file, those without an object among them."""

    path: Path
    folder: Path
    keys: tuple[str, ...]
    ids: tuple[int, ...]
    labels: tuple[str | None, ...]
    categories: tuple[int, ...]
    classes: tuple[str, ...]
    by_class: bool = True

    @cached_property
    def _annotations(self) -> dict[int, list[dict[str, Any]]]:
        found: dict[int, list[dict[str, Any]]] = {}
        for one in _load(self.path)["annotations"]:
            found.setdefault(one["image_id"], []).append(one)
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Leave the annotations behind: every process reads its own."""
        return {k: v for k, v in self.__dict__.items() if k != "_annotations"}

    def read(self, index: int) -> Example:
        """Read a picture and draw its mask."""
        key = self.keys[index]
        picture = read_picture(self.folder / key)
        found = self._annotations.get(self.ids[index], [])
        mask = np.zeros((picture.height, picture.width), dtype=np.int32)
        classes = []
        for one in sorted(found, key=lambda a: -float(a.get("area", 0))):
            if one["category_id"] not in self.categories:
                raise SourceError(f"{key}: category {one['category_id']} is not in {self.path}")
            classes.append(self.categories.index(one["category_id"]) + 1)
            try:
                inside = instance_mask(one["segmentation"], picture.height, picture.width)
            except (KeyError, ValueError, TypeError) as error:
                raise SourceError(f"{key}: instance {one.get('id')}: {error}") from None
            mask[inside] = classes[-1]
        return checked(Example(picture, mask, frozenset(classes)), key, len(self.classes))


def open_coco(path: Path, classes: Sequence[str]) -> Coco:
    """List the pictures of an instances file.

    Args:
        path: the file, or the folder above annotations/; of several, the validation set's.
        classes: names in the order of the categories' ids; default, the file's own.

    Raises:
        SourceError: a file or the folder of pictures is missing, or has no instances.
        UsageError: names are given, but not one for each category.
    """
    path = path if path.is_file() else _instances(path)
    held = _load(path)
    split = path.stem.removeprefix("instances_")
    above = path.parent.parent
    folders = [above / split, above / "images" / split]
    folder = next((f for f in folders if f.is_dir()), None)
    if folder is None:
        raise SourceError(f"{path.name} needs its pictures in {folders[0]} or {folders[1]}")
    categories = sorted(held["categories"], key=lambda c: int(c["id"]))
    names = need_names(
        classes or [str(c["name"]) for c in categories],
        len(categories),
        path.name,
        "order of the categories' ids",
    )
    pictures = sorted(held["images"], key=lambda i: str(i["file_name"]))
    return Coco(
        path,
        folder,
        tuple(str(i["file_name"]) for i in pictures),
        tuple(int(i["id"]) for i in pictures),
        (None,) * len(pictures),
        tuple(int(c["id"]) for c in categories),
        names,
    )


def is_coco(root: Path) -> bool:
    """Whether there is an instances file, or `root` is named like one."""
    if root.is_file():
        return root.match(NAMED)
    return any((root / "annotations").glob(NAMED))


def _instances(root: Path) -> Path:
    found = sorted((root / "annotations").glob(NAMED))
    chosen = found if len(found) == 1 else [p for p in found if p.stem.startswith("instances_val")]
    if len(chosen) != 1:
        raise SourceError(
            f"{root / 'annotations'} has {', '.join(p.name for p in found)}; give one of the files"
        )
    return chosen[0]


def _load(path: Path) -> dict[str, Any]:
    try:
        held = json.loads(decode_text(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot read {path}: {error}") from None
    parts = ("images", "annotations", "categories")
    if not isinstance(held, dict) or not all(isinstance(held.get(p), list) for p in parts):
        raise SourceError(f"{path}: expected COCO's lists images, annotations and categories")
    return held


def instance_mask(
    segmentation: list[Any] | dict[str, Any], height: int, width: int
) -> Bool[np.ndarray, "height width"]:
    """Return where an instance is: polygons, each [x, y, x, y ...], or run lengths by columns.

    Raises:
        ValueError: the run lengths are of another size.
        KeyError: they have no counts.
    """
    if isinstance(segmentation, dict):
        counts = segmentation["counts"]
        runs = _unpacked(counts) if isinstance(counts, str) else counts
        flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        if len(flat) != height * width:
            raise ValueError(f"run lengths of {len(flat)} pixels, expected {height} x {width}")
        return flat.reshape(width, height).T
    inside = np.zeros((height, width), dtype=bool)
    for polygon in segmentation:
        _draw(inside, np.array(polygon, dtype=float).reshape(-1, 2))
    return inside


def _draw(inside: Bool[np.ndarray, "height width"], corners: Float[np.ndarray, "corner 2"]) -> None:
    """Set the pixels of a polygon; only its own box is drawn."""
    height, width = inside.shape
    low = np.clip(np.floor(corners.min(axis=0)), 0, (width, height)).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)), 0, (width, height)).astype(int)
    across, down = (high - low).tolist()
    if across == 0 or down == 0:
        return
    drawn = Image.new("L", (across * FINER, down * FINER))
    # a point of the picture is at the centre of the part that is drawn
    points = (corners - low) * FINER - 0.5
    ImageDraw.Draw(drawn).polygon([tuple(point) for point in points.tolist()], fill=1)
    parts = np.asarray(drawn).reshape(down, FINER, across, FINER)
    covered = parts.sum(axis=(1, 3)) * 2 >= FINER**2
    inside[low[1] : high[1], low[0] : high[0]] |= covered


def _unpacked(text: str) -> list[int]:
    """Return the run lengths of COCO's compressed text.

    Each number is in groups of 5 bits, lowest first, a character each from `0` on; the sixth bit
    says that more follow, and the last group carries the sign. From the fourth run on, numbers
    are differences from the run before the last.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        group = ord(character) - 48
        value |= (group & 0x1F) << shift
        shift += 5
        if group & 0x20:
            continue
        if group & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs
