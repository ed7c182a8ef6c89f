"""Any folder with images/ and masks/ of equal names; classes from a column of metadata.csv."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.masks.base import (
    Example,
    checked,
    class_mask,
    foreground,
    pictures_in,
    read_indices,
    read_picture,
)
from schemas.errors import SourceError, UsageError
from schemas.text import read_rows


@dataclass(frozen=True)
class FolderPairs:
    """images/ and masks/; labels from a column of metadata.csv."""

    root: Path
    keys: tuple[str, ...]
    masks: tuple[str, ...]
    labels: tuple[str | None, ...]
    classes: tuple[str, ...]
    by_class: bool = False

    def read(self, index: int) -> Example:
        """Read a pair: any value but 0 is foreground, or each is a class and 255 ignored."""
        key = self.keys[index]
        picture = read_picture(self.root / "images" / key)
        values = read_indices(self.root / "masks" / self.masks[index])
        if self.by_class:
            return checked(Example(picture, class_mask(values)), key, len(self.classes))
        return checked(Example(picture, foreground(values)), key)


def open_pairs(
    root: Path, labels: str | None, classes: Sequence[str], *, by_class: bool
) -> FolderPairs:
    """List the pairs.

    Args:
        root: with images/ and masks/.
        labels: column of metadata.csv with each picture's class; None: it is not known.
        classes: names that can be asked for; default, the labels.
        by_class: whether masks hold class indices, from 1 in the order of `classes`.

    Raises:
        SourceError: a picture has no mask or no row.
        UsageError: no class names are known, or a label is none of them.
    """
    pictures = pictures_in(root / "images")
    masks = {p.with_suffix("").as_posix(): p.as_posix() for p in pictures_in(root / "masks")}
    lone = [p.as_posix() for p in pictures if p.with_suffix("").as_posix() not in masks]
    if lone:
        raise SourceError(f"{root}: {len(lone)} pictures have no mask, the first is {lone[0]}")
    if not pictures:
        raise SourceError(f"{root / 'images'} holds no picture")
    if by_class and (labels is not None or not classes):
        raise UsageError(
            "masks of classes need --classes a,b,c, the names of 1, 2, 3 in the masks, and no "
            "--labels"
        )
    keys = tuple(p.as_posix() for p in pictures)
    named = {} if labels is None else _column(root, labels)
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
        by_class,
    )


def metadata_rows(root: Path) -> list[dict[str, str]]:
    """Return the rows of metadata.csv.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        return read_rows(root / "metadata.csv", "a CSV with a row for each picture")[1]
    except UsageError as error:
        raise SourceError(str(error)) from None


def _column(root: Path, name: str) -> dict[str, str]:
    """Return picture -> value of a column of metadata.csv; paths count from images/ or above."""
    rows = metadata_rows(root)
    if not rows or name not in rows[0] or "img_filename" not in rows[0]:
        there = ", ".join(rows[0]) if rows else "nothing"
        raise UsageError(
            f"{root / 'metadata.csv'}: expected columns img_filename and {name}, found {there}"
        )
    return {row["img_filename"].removeprefix("images/"): row[name] for row in rows}
