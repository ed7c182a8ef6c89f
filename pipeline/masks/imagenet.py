"""The two data sets of ImageNet pictures with masks: ImageNet-Segmentation and ImageNet-S."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32
from PIL import Image

from pipeline.masks.base import (
    IGNORE,
    Example,
    checked,
    foreground,
    need_names,
    pictures_in,
    read_picture,
)
from schemas.errors import SourceError, UsageError

PICTURES, MASKS = "validation", "validation-segmentation"
# The class that ImageNet-S writes for pixels that count for nothing.
NEITHER = 1000


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
            foreground(mask.astype(np.uint8)),
        )
        return checked(example, self.keys[index])


def open_mat(path: Path, classes: Sequence[str]) -> ImageNetSegmentation:
    """List the pictures of ImageNet-Segmentation; `classes` name its synsets in sorted order.

    Raises:
        SourceError: the file cannot be opened, or holds something else.
        UsageError: there is not one name for each synset.
    """
    with _hdf5(path) as f:
        lacking = [part for part in ("img", "gt", "id") if f"/value/{part}" not in f]
        if lacking:
            raise SourceError(
                f"{path} has no /value/{lacking[0]}; expected gtsegs_ijcv.mat of "
                "ImageNet-Segmentation, with /value/img, /value/gt and /value/id"
            )
        count = f["/value/img"].shape[0]
        synsets = ["".join(map(chr, np.ravel(f[f["/value/id"][i, 0]]))) for i in range(count)]
    known = sorted(set(synsets))
    what, order = f"{path.name} with its synsets", "sorted order of the synsets"
    names = need_names(classes, len(known), what, order)
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

    def read(self, index: int) -> Example:
        """Read a pair."""
        key = Path(self.keys[index])
        picture = read_picture(self.root / PICTURES / key)
        mask = _two_bytes(self.root / MASKS / key.with_suffix(".png"))
        return checked(Example(picture, mask), self.keys[index], len(self.classes))


def open_imagenet_s(root: Path, classes: Sequence[str]) -> ImageNetS:
    """List the validation pictures; `classes` name its synsets in sorted order.

    Raises:
        SourceError: a folder is missing, or a picture has no mask.
        UsageError: there is not one name for each synset.
    """
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
        classes, len(synsets), f"{root.name} with its synsets", "sorted order of the synsets"
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
