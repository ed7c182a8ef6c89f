"""What every layout is, and gives: pictures with masks, listed once, read one at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int32, Integer, Shaped
from PIL import Image, ImageOps

from pipeline.pictures.decode import EXACT, Decoded, Decoding, Opened, Rejected
from schemas.errors import SourceError, UsageError

IGNORE = -1
"""Value of a mask's pixels that count for nothing. It is no class of any layout."""
OUTLINE = 255
"""What palettes and index pictures of 8 bits write for `IGNORE`."""

OPAQUE = 255
LOSSY = frozenset({"JPEG", "MPO", "JPEG2000", "AVIF", "HEIF"})
"""Formats whose values are only near those that were drawn."""

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"})


@dataclass(frozen=True)
class Example:
    """A picture and its mask.

    Attributes:
        picture: RGB, upright; smaller than it is stored where the decoding allows that.
        mask: of the whole picture's size: 0 background, `IGNORE` ignored; else foreground (1), or a
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

    def read(self, index: int, how: Decoding = EXACT) -> Example:
        """Read one picture, decoded as a scan decodes, and its mask.

        Raises:
            SourceError: a file is missing or cannot be used.
        """


@dataclass(frozen=True)
class Request:
    """A data set that is asked for.

    Attributes:
        root: its folder or file.
        labels: column of metadata.csv with each picture's class.
        classes: names that can be asked for; empty: the data set's own.
        class_masks: whether the masks are said to hold classes.
    """

    root: Path
    labels: str | None = None
    classes: tuple[str, ...] = ()
    class_masks: bool = False


@dataclass(frozen=True)
class Layout:
    """A way to lay out pictures with masks; a file of `pipeline/masks/` sets `LAYOUT` to one.

    Attributes:
        name: of the layout.
        expected: what it is recognised by, for messages.
        claims: whether a folder or file is laid out so; it reads no more than it must.
        open: lists the data set; SourceError or UsageError where it cannot.
        takes: the options `labels` and `masks` that it takes, of those.
    """

    name: str
    expected: str
    claims: Callable[[Path], bool]
    open: Callable[[Request], Labelled]
    takes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class MaskFiles:
    """A data set of a picture file and a mask file each.

    Attributes:
        pictures: files.
        masks: files, in the same order.
        keys: names of the pictures.
        labels: the class of each picture, where it is known.
        classes: names that can be asked for.
        by_class: whether masks hold class indices, 255 ignored; else any value but 0 is foreground.
    """

    pictures: tuple[Path, ...]
    masks: tuple[Path, ...]
    keys: tuple[str, ...]
    labels: tuple[str | None, ...]
    classes: tuple[str, ...]
    by_class: bool = False

    def read(self, index: int, how: Decoding = EXACT) -> Example:
        """Read a picture and its mask.

        Raises:
            SourceError: a file is missing or cannot be used, or they do not fit.
        """
        found = read_picture(self.pictures[index], how)
        if self.by_class:
            mask = class_mask(read_indices(self.masks[index]))
            return paired(found, mask, self.keys[index], len(self.classes))
        return paired(found, read_foreground(self.masks[index]), self.keys[index])


def read_picture(path: Path, how: Decoding = EXACT) -> Decoded:
    """Read a picture as upright RGB.

    Raises:
        SourceError: the file is missing or cannot be decoded.
    """
    try:
        return Opened(path.read_bytes(), how).load()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}") from None
    except Rejected as verdict:
        raise SourceError(f"cannot use {path}: {verdict.reason}") from None


def read_indices(path: Path) -> Int32[np.ndarray, "height width"]:
    """Read a mask's values: a palette's indices, or greys. What is transparent is 0.

    Raises:
        SourceError: the file is missing or no picture, lossy, coloured, or half transparent.
    """
    values, colours, alpha = _mask(path)
    if values is None:
        values = colours[..., 0]
        if bool((colours != values[..., None])[alpha > 0].any()):
            raise SourceError(
                f"mask {path} is coloured; expected a palette's indices, or greys (the same in "
                "all channels)"
            )
    if bool(((alpha > 0) & (alpha < OPAQUE)).any()):
        raise SourceError(f"mask {path} is transparent in part; expected alpha 0 or {OPAQUE}")
    found: np.ndarray = np.where(alpha > 0, values, 0)
    return found


def read_foreground(path: Path) -> Int32[np.ndarray, "height width"]:
    """Read where a mask's foreground is: 1 where it has any colour, or where its alpha says so.

    A mask of one colour on a transparent ground is what is at least half opaque.

    Raises:
        SourceError: the file is missing or no picture, lossy, or its colours and its alpha do not
            say the same.
    """
    values, colours, alpha = _mask(path)
    drawn = (colours > 0).any(axis=-1) if values is None else values > 0
    if int(alpha.min(initial=OPAQUE)) == OPAQUE:
        return np.asarray(drawn, dtype=np.int32)
    opaque = alpha * 2 > OPAQUE
    plain = bool((colours == colours[:1, :1]).all())
    if not plain and bool((opaque != drawn).any()):
        raise SourceError(
            f"mask {path} has colours and an alpha channel that do not say the same; save it as a "
            "grey or palette PNG without alpha"
        )
    return np.asarray(opaque, dtype=np.int32)


def _mask(
    path: Path,
) -> tuple[
    Int32[np.ndarray, "height width"] | None,
    Int32[np.ndarray, "height width 3"],
    Int32[np.ndarray, "height width"],
]:
    """Return indices or greys where a file has such, its colours, and its alpha."""
    try:
        with Image.open(path) as stored:
            _need_lossless(path, stored)
            opened = _upright(stored)
            plain = opened.mode in ("P", "L", "1", "I", "F") or opened.mode.startswith("I;16")
            values = _whole(path, np.asarray(opened)) if plain else None
            if plain and opened.mode not in ("P", "L"):
                assert values is not None
                return values, np.stack([values] * 3, -1), np.full_like(values, OPAQUE)
            parts = np.asarray(opened.convert("RGBA"), dtype=np.int32)
            # a palette's transparent colour is for looks: its indices are the mask
            alpha = np.full(parts.shape[:2], OPAQUE, np.int32) if plain else parts[..., 3]
            return values, parts[..., :3], alpha
    except SourceError:
        raise
    except Exception as error:  # noqa: BLE001  Pillow's readers raise almost anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SourceError(f"cannot read mask {path}: {reason}") from None


def _upright(stored: Image.Image) -> Image.Image:
    """Return a mask turned as its EXIF says, as pictures are; as it is where that is broken."""
    try:
        return ImageOps.exif_transpose(stored)
    except Exception:  # noqa: BLE001  Pillow's readers of EXIF raise almost anything
        return stored


def _whole(
    path: Path, values: Shaped[np.ndarray, "height width"]
) -> Int32[np.ndarray, "height width"]:
    """Return values as the integers that they are.

    Raises:
        SourceError: some are none, or below 0.
    """
    whole = np.isfinite(values) & (np.rint(values) == values)
    if values.dtype.kind == "f" and not bool(whole.all()):
        raise SourceError(
            f"mask {path} holds numbers that are not whole; expected a class each, or 0 and 1"
        )
    least, most = values.min(initial=0), values.max(initial=0)
    if least < 0 or most > np.iinfo(np.int32).max:
        wrong = least if least < 0 else most
        raise SourceError(f"mask {path} holds {wrong:.0f}; expected a class, 0 or more")
    found: np.ndarray = values.astype(np.int32)
    return found


def _need_lossless(path: Path, opened: Image.Image) -> None:
    """Refuse a file whose values are near those that were drawn, not equal to them.

    Raises:
        SourceError: it is one.
    """
    lossy = opened.format in LOSSY or opened.info.get("compression") == "jpeg"
    if opened.format == "WEBP":
        with path.open("rb") as file:
            lossy = b"VP8L" not in file.read(64)
    if lossy:
        raise SourceError(
            f"mask {path} is a lossy {opened.format}: its values are not those that were drawn; "
            "save masks as PNG"
        )


def foreground(
    values: Integer[np.ndarray, "height width"], above: int = 0
) -> Int32[np.ndarray, "height width"]:
    """Return 1 where a value is above `above`, else 0."""
    return (values > above).astype(np.int32)


def class_mask(
    values: Int32[np.ndarray, "height width"],
) -> Int32[np.ndarray, "height width"]:
    """Return class indices of 8 bits with 255 as `IGNORE`."""
    found: np.ndarray = np.where(values == OUTLINE, IGNORE, values)
    return found


def paired(
    found: Decoded,
    mask: Int32[np.ndarray, "height width"],
    key: str,
    n_classes: int = 1,
    present: frozenset[int] | None = None,
) -> Example:
    """Return a picture with a mask that fits it and its data set.

    Raises:
        SourceError: it is of another size, or names a class that there is not.
    """
    height, width = mask.shape
    if (height, width) != (found.height, found.width):
        raise SourceError(
            f"{key}: picture {found.width} x {found.height}, mask {width} x {height}; expected the "
            "same size"
        )
    top = int(mask.max(initial=0))
    if top > n_classes:
        raise SourceError(f"{key}: class {top} in the mask, expected 0 to {n_classes}, or ignored")
    return Example(found.picture, mask, present)


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
