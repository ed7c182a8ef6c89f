"""Pictures with masks, in the layouts that the field uses: listed once, read one at a time."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pipeline.decode import Rejected, decode
from schemas.errors import SourceError, UsageError

IGNORE = 255
VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa"),
    *("train", "tv monitor"),
)
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"}


@dataclass(frozen=True)
class Example:
    """A picture and its mask.

    Attributes:
        picture: RGB.
        mask: of the picture's size: 0 background, 255 ignored; else foreground (1), or a class,
            counted from 1 as in `Labelled.classes`.
    """

    picture: Image.Image
    mask: UInt8[np.ndarray, "height width"]


@runtime_checkable
class Labelled(Protocol):
    """A data set; it holds no open file while it travels to a worker."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the pictures."""

    @property
    def labels(self) -> tuple[str | None, ...]:
        """The class of each picture; None where it is not known or there are several."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names that can be asked for, in the order of a mask's class indices if it has any."""

    @property
    def by_class(self) -> bool:
        """Whether masks hold class indices."""

    def read(self, index: int) -> Example:
        """Read one picture and its mask.

        Raises:
            SourceError: a file is missing or cannot be used.
        """


@dataclass(frozen=True)
class FolderPairs:
    """images/ and masks/ with equal names; labels from a column of metadata.csv."""

    root: Path
    keys: tuple[str, ...]
    masks: tuple[str, ...]
    labels: tuple[str | None, ...]
    classes: tuple[str, ...]
    by_class: bool = False

    def read(self, index: int) -> Example:
        """Read a pair; any value but 0 is foreground."""
        picture = _picture(self.root / "images" / self.keys[index])
        mask = _indices(self.root / "masks" / self.masks[index])
        return _checked(Example(picture, (mask > 0).astype(np.uint8)), self.keys[index])


@dataclass(frozen=True)
class Voc:
    """Pascal VOC: JPEGImages, SegmentationClass, and a list of names."""

    root: Path
    keys: tuple[str, ...]
    labels: tuple[str | None, ...]
    classes: tuple[str, ...] = VOC_CLASSES
    by_class: bool = True

    def read(self, index: int) -> Example:
        """Read a pair; the palette's indices are classes, 255 the outline that is ignored."""
        name = self.keys[index]
        picture = _picture(self.root / "JPEGImages" / f"{name}.jpg")
        mask = _indices(self.root / "SegmentationClass" / f"{name}.png")
        return _checked(Example(picture, mask), name)


@dataclass(frozen=True)
class ImageNetSegmentation:
    """gtsegs_ijcv.mat: HDF5 with references to pictures, masks and synsets, arrays transposed.

    The file is opened by the process that reads from it: a handle does not survive a fork.
    """

    path: Path
    keys: tuple[str, ...]
    labels: tuple[str | None, ...]
    classes: tuple[str, ...]
    by_class: bool = False

    @cached_property
    def _file(self) -> Any:
        return _hdf5(self.path)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file behind."""
        return {k: v for k, v in self.__dict__.items() if k != "_file"}

    def read(self, index: int) -> Example:
        """Read a pair."""
        f = self._file
        picture = np.asarray(f[f["/value/img"][index, 0]]).transpose(2, 1, 0)
        mask = np.asarray(f[f[f["/value/gt"][index, 0]][0, 0]]).transpose(1, 0)
        example = Example(
            Image.fromarray(np.ascontiguousarray(picture, dtype=np.uint8)),
            (mask > 0).astype(np.uint8),
        )
        return _checked(example, self.keys[index])


def open_data(root: Path, labels: str | None = None, classes: Sequence[str] = ()) -> Labelled:
    """Recognise a data set by its files.

    Args:
        root: a .mat file, a VOC folder, or a folder with images/ and masks/.
        labels: column of metadata.csv, for folder pairs.
        classes: names that can be asked for; default, the labels or VOC's own. For
            ImageNet-Segmentation, the names of its synsets in sorted order.

    Raises:
        SourceError: it is none of these, or a part is missing.
        UsageError: no class names are known.
    """
    if root.is_file() and root.suffix == ".mat":
        return _mat(root, classes)
    voc = next(iter(root.glob("VOCdevkit/VOC20??")), root)
    if (voc / "SegmentationClass").is_dir():
        return _voc(voc, classes)
    if (root / "images").is_dir() and (root / "masks").is_dir():
        return _pairs(root, labels, classes)
    raise SourceError(
        f"{root}: expected images/ and masks/, JPEGImages/ and SegmentationClass/ (VOC), or a "
        ".mat file of ImageNet-Segmentation"
    )


def _pairs(root: Path, labels: str | None, classes: Sequence[str]) -> FolderPairs:
    pictures = _relative(root / "images")
    masks = {path.with_suffix("").as_posix(): path.as_posix() for path in _relative(root / "masks")}
    lone = [p.as_posix() for p in pictures if p.with_suffix("").as_posix() not in masks]
    if lone:
        raise SourceError(f"{root}: {len(lone)} pictures have no mask, the first is {lone[0]}")
    if not pictures:
        raise SourceError(f"{root / 'images'} holds no picture")
    keys = tuple(p.as_posix() for p in pictures)
    named = _column(root, labels) if labels is not None else {}
    missing = [key for key in keys if labels is not None and key not in named]
    if missing:
        raise SourceError(f"{root}/metadata.csv has no row for {missing[0]}")
    known = tuple(classes) or tuple(sorted(set(named.values())))
    if not known:
        raise UsageError("no class names: give --labels COLUMN of metadata.csv, or --classes a,b,c")
    strange = sorted(set(named.values()) - set(known))
    if strange:
        raise UsageError(f"label {strange[0]!r} of metadata.csv is not among --classes")
    return FolderPairs(
        root,
        keys,
        tuple(masks[p.with_suffix("").as_posix()] for p in pictures),
        tuple(named.get(key) for key in keys),
        known,
    )


def _relative(folder: Path) -> list[Path]:
    found = (p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES)
    return sorted(p.relative_to(folder) for p in found)


def _column(root: Path, name: str) -> dict[str, str]:
    """Return picture -> value of a column of metadata.csv; paths count from images/ or above."""
    path = root / "metadata.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from None
    if not rows or name not in rows[0] or "img_filename" not in rows[0]:
        there = ", ".join(rows[0]) if rows else "nothing"
        raise UsageError(f"{path}: expected columns img_filename and {name}, found {there}")
    return {row["img_filename"].removeprefix("images/"): row[name] for row in rows}


def _voc(root: Path, classes: Sequence[str]) -> Voc:
    listing = root / "ImageSets" / "Segmentation" / "val.txt"
    if not listing.is_file():
        raise SourceError(f"{listing} is missing; it lists the pictures")
    keys = tuple(line.strip() for line in listing.read_text().splitlines() if line.strip())
    names = tuple(classes) or VOC_CLASSES
    if len(names) != len(VOC_CLASSES):
        raise UsageError(f"classes: got {len(names)} names, VOC has {len(VOC_CLASSES)}")
    return Voc(root, keys, (None,) * len(keys), names)


def _mat(path: Path, classes: Sequence[str]) -> ImageNetSegmentation:
    file = _hdf5(path)
    with file as f:
        count = f["/value/img"].shape[0]
        synsets = ["".join(map(chr, np.ravel(f[f["/value/id"][i, 0]]))) for i in range(count)]
    known = sorted(set(synsets))
    names = tuple(classes)
    if len(names) != len(known):
        raise UsageError(
            f"classes: got {len(names)} names, {path.name} has {len(known)} synsets; give their "
            "names in sorted order of the synsets"
        )
    name_of = dict(zip(known, names, strict=True))
    keys = tuple(f"{i:05d}-{synset}" for i, synset in enumerate(synsets))
    return ImageNetSegmentation(path, keys, tuple(name_of[s] for s in synsets), names)


def _hdf5(path: Path) -> Any:
    try:
        import h5py
    except ImportError:
        raise UsageError(f"{path.name} is HDF5 and needs h5py: pip install h5py") from None
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise SourceError(f"cannot open {path}: {error}") from None


def _picture(path: Path) -> Image.Image:
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from None
    except Rejected as verdict:
        raise SourceError(f"cannot use {path}: {verdict.reason}") from None


def _indices(path: Path) -> UInt8[np.ndarray, "height width"]:
    """Read a mask's values: a palette's indices, a grey picture's greys."""
    try:
        with Image.open(path) as opened:
            plain = opened if opened.mode in ("P", "L") else opened.convert("L")
            return np.asarray(plain, dtype=np.uint8)
    except OSError as error:
        raise SourceError(f"cannot read mask {path}: {error}") from None


def _checked(example: Example, key: str) -> Example:
    if example.mask.shape != (example.picture.height, example.picture.width):
        raise SourceError(
            f"{key}: picture {example.picture.width} x {example.picture.height}, mask "
            f"{example.mask.shape[1]} x {example.mask.shape[0]}; expected the same size"
        )
    return example
