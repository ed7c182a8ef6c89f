"""What every layout gives: pictures with masks, listed once, read one at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int32, UInt8
from PIL import Image

from pipeline.pictures.decode import Rejected, decode
from schemas.errors import SourceError, UsageError

IGNORE = -1
"""Value of a mask's pixels that count for nothing. It is no class of any layout."""
OUTLINE = 255
"""What palettes and index pictures of 8 bits write for `IGNORE`."""

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"})


@dataclass(frozen=True)
class Example:
    """A picture and its mask.

    Attributes:
        picture: RGB.
        mask: of the picture's size: 0 background, `IGNORE` ignored; else foreground (1), or a
            class, counted from 1 as in `Labelled.classes`.
        present: classes that the whole picture is annotated with, counted from 1; None: those of
            its mask.
    """

    picture: Image.Image
    mask: Int32[np.ndarray, "height width"]
    present: frozenset[int] | None = None


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


def read_picture(path: Path) -> Image.Image:
    """Read a picture as upright RGB.

    Raises:
        SourceError: the file is missing or cannot be decoded.
    """
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}") from None
    except Rejected as verdict:
        raise SourceError(f"cannot use {path}: {verdict.reason}") from None


def read_indices(path: Path) -> UInt8[np.ndarray, "height width"]:
    """Read a mask's values: a palette's indices, a grey picture's greys.

    Raises:
        SourceError: the file is missing or no picture.
    """
    try:
        with Image.open(path) as opened:
            plain = opened if opened.mode in ("P", "L") else opened.convert("L")
            return np.asarray(plain, dtype=np.uint8)
    except OSError as error:
        raise SourceError(f"cannot read mask {path}: {error}") from None


def foreground(
    values: UInt8[np.ndarray, "height width"], above: int = 0
) -> Int32[np.ndarray, "height width"]:
    """Return 1 where a value is above `above`, else 0."""
    return (values > above).astype(np.int32)


def class_mask(
    values: UInt8[np.ndarray, "height width"],
) -> Int32[np.ndarray, "height width"]:
    """Return class indices of 8 bits with 255 as `IGNORE`."""
    wide = values.astype(np.int32)
    wide[values == OUTLINE] = IGNORE
    return wide


def checked(example: Example, key: str, n_classes: int = 1) -> Example:
    """Return an example whose mask fits its picture and its data set.

    Raises:
        SourceError: it is of another size, or names a class that there is not.
    """
    height, width = example.mask.shape
    if (height, width) != (example.picture.height, example.picture.width):
        raise SourceError(
            f"{key}: picture {example.picture.width} x {example.picture.height}, mask "
            f"{width} x {height}; expected the same size"
        )
    top = int(example.mask.max(initial=0))
    if top > n_classes:
        raise SourceError(f"{key}: class {top} in the mask, expected 0 to {n_classes}, or ignored")
    return example


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures below a folder, sorted, relative to it."""
    found = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    return sorted(p.relative_to(folder) for p in found)


def need_names(got: Sequence[str], count: int, what: str, order: str) -> tuple[str, ...]:
    """Return the class names that were given, one for each class.

    Raises:
        UsageError: there are more or fewer.
    """
    if len(got) != count:
        raise UsageError(
            f"classes: got {len(got)} names, {what} has {count}; give their names in {order}"
        )
    return tuple(got)
