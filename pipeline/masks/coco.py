"""COCO: annotations/instances_SPLIT.json over the pictures of SPLIT/ or images/SPLIT/.

Masks are drawn from the instances by pycocotools, larger ones first, so that a pixel belongs to the
smallest instance over it. Which classes a picture has comes from its annotations, not from those
pixels. Ids are opaque: numbers, strings, whatever they are joined by.
"""

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from pycocotools import mask as run_lengths

from pipeline.masks.base import Example, Layout, Request, need_names, paired, read_picture
from pipeline.pictures.decode import EXACT, Decoding
from schemas.errors import SourceError
from schemas.text import decode_text

NAMED = "instances_*.json"
# Corners further out than any picture reaches: drawing takes memory along a polygon's length.
FARTHEST = 100_000


@dataclass(frozen=True)
class Coco:
    """The pictures of one instances file, those without an object among them."""

    path: Path
    folder: Path
    keys: tuple[str, ...]
    ids: tuple[str, ...]
    labels: tuple[str | None, ...]
    categories: tuple[str, ...]
    classes: tuple[str, ...]
    by_class: bool = True

    @cached_property
    def _annotations(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for one in _load(self.path)["annotations"]:
            if isinstance(one, dict):
                found.setdefault(_id(one.get("image_id")), []).append(one)
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Leave the annotations behind: every process reads its own."""
        return {k: v for k, v in self.__dict__.items() if k != "_annotations"}

    def read(self, index: int, how: Decoding = EXACT) -> Example:
        """Read a picture and draw its mask.

        Raises:
            SourceError: the picture or one of its annotations cannot be used.
        """
        key = self.keys[index]
        found = read_picture(self.folder / key, how)
        size = (found.height, found.width)
        drawn = [self._instance(key, one, size) for one in self._of(index)]
        mask = np.zeros(size, dtype=np.int32)
        for _, category, inside in sorted(drawn, key=lambda found: -found[0]):
            mask[inside] = category
        present = frozenset(category for _, category, _ in drawn)
        return paired(found, mask, key, len(self.classes), present)

    def _of(self, index: int) -> list[dict[str, Any]]:
        return self._annotations.get(self.ids[index], [])

    def _instance(
        self, key: str, one: dict[str, Any], size: tuple[int, int]
    ) -> tuple[float, int, Bool[np.ndarray, "height width"]]:
        """Return an annotation's area, its class, and where it is."""
        category = _id(one.get("category_id"))
        if category not in self.categories:
            raise SourceError(
                f"{key}: instance {one.get('id')}: category {one.get('category_id')!r} is not in "
                f"{self.path}"
            )
        try:
            inside = instance_mask(one["segmentation"], *size)
        except (KeyError, ValueError, TypeError) as error:
            reason = "no segmentation" if isinstance(error, KeyError) else error
            raise SourceError(f"{key}: instance {one.get('id')}: {reason}") from None
        area = one.get("area")
        if not isinstance(area, (int, float)) or not math.isfinite(area):
            area = inside.sum()
        return float(area), 1 + self.categories.index(category), inside


def open_coco(request: Request) -> Coco:
    """List the pictures of an instances file, or of the validation set's below annotations/.

    Classes that are asked for name the categories in the order of their ids.

    Raises:
        SourceError: a file or the folder of pictures is missing, or has no instances.
        UsageError: names are given, but not one for each category.
    """
    path = request.root if request.root.is_file() else _instances(request.root)
    held = _load(path)
    split = path.stem.removeprefix("instances_")
    above = path.parent.parent
    folders = [above / split, above / "images" / split]
    folder = next((f for f in folders if f.is_dir()), None)
    if folder is None:
        raise SourceError(f"{path.name} needs its pictures in {folders[0]} or {folders[1]}")
    categories = sorted(held["categories"], key=lambda c: _order(c["id"]))
    names = need_names(
        request.classes or [str(c["name"]) for c in categories],
        len(categories),
        path.name,
        "order of the categories' ids",
    )
    pictures = sorted(held["images"], key=lambda i: str(i["file_name"]))
    return Coco(
        path,
        folder,
        tuple(str(i["file_name"]) for i in pictures),
        tuple(_id(i["id"]) for i in pictures),
        (None,) * len(pictures),
        tuple(_id(c["id"]) for c in categories),
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
    except (OSError, ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise SourceError(f"cannot read {path}: {reason}") from None
    parts = ("images", "annotations", "categories")
    if not isinstance(held, dict) or not all(isinstance(held.get(p), list) for p in parts):
        raise SourceError(f"{path}: expected COCO's lists images, annotations and categories")
    for part, field in (("images", "file_name"), ("categories", "name")):
        for number, one in enumerate(held[part]):
            if not isinstance(one, dict) or one.get("id") is None or one.get(field) is None:
                raise SourceError(f"{path}: {part}[{number}] lacks id or {field}")
    return held


def _id(value: Any) -> str:
    """Return an id by which things are joined: 7 is 7, and the string "7" is another."""
    return json.dumps(value, sort_keys=True)


def _order(value: Any) -> tuple[bool, float, str]:
    """Sort numbers as numbers, before all else as text."""
    number = isinstance(value, (int, float))
    return not number, float(value) if number else 0.0, str(value)


def instance_mask(segmentation: Any, height: int, width: int) -> Bool[np.ndarray, "height width"]:
    """Return where an instance is: polygons, each [x, y, x, y ...], or run lengths by columns.

    Raises:
        ValueError: it is none of these, or the run lengths are of another size.
        KeyError: run lengths have no counts.
    """
    if isinstance(segmentation, dict):
        return _by_runs(segmentation["counts"], height, width)
    if not isinstance(segmentation, list):
        raise ValueError(f"segmentation {segmentation!r}: expected polygons or run lengths")
    for polygon in segmentation:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise ValueError(f"polygon {str(polygon)[:60]}: expected x, y of three corners or more")
        if not all(isinstance(x, (int, float)) and abs(x) <= FARTHEST for x in polygon):
            raise ValueError(
                f"polygon {str(polygon)[:60]}: expected finite numbers, at most {FARTHEST:,}"
            )
    if not segmentation:
        return np.zeros((height, width), dtype=bool)
    drawn = run_lengths.merge(run_lengths.frPyObjects(segmentation, height, width))
    return np.asarray(run_lengths.decode(drawn)).astype(bool)


def _by_runs(counts: Any, height: int, width: int) -> Bool[np.ndarray, "height width"]:
    size = [height, width]
    if isinstance(counts, list):
        if sum(counts) != height * width or min(counts, default=0) < 0:
            raise ValueError(f"run lengths of {sum(counts)} pixels, expected {height} x {width}")
        found = run_lengths.frPyObjects({"counts": counts, "size": size}, height, width)
        return np.asarray(run_lengths.decode(found)).astype(bool)
    if not isinstance(counts, (str, bytes)):
        raise ValueError(f"run lengths {counts!r}: expected numbers, or COCO's compressed text")
    found = {"counts": counts, "size": size}
    inside = np.asarray(run_lengths.decode(found))
    # what is of another size is decoded as far as it goes: it must come back as it was
    again = run_lengths.encode(np.asfortranarray(inside))["counts"]
    if again != (counts.encode() if isinstance(counts, str) else counts):
        raise ValueError(f"run lengths {str(counts)[:20]!r} are not of {height} x {width} pixels")
    return inside.astype(bool)


LAYOUT = Layout("COCO", "annotations/instances_*.json (COCO)", is_coco, open_coco)
