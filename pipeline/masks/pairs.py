"""Any folder with images/ and masks/ of equal names; classes from a column of metadata.csv."""

from pathlib import Path

from pipeline.masks.base import Layout, MaskFiles, Request, pictures_in
from schemas.errors import SourceError, UsageError
from schemas.text import how_many, read_rows


def open_pairs(request: Request) -> MaskFiles:
    """List the pairs.

    With `class_masks`, masks hold class indices from 1 on in the order of `classes`.

    Raises:
        SourceError: a picture has no mask or no row.
        UsageError: no class names are known, or a label is none of them.
    """
    root, labels = request.root, request.labels
    pictures = pictures_in(root / "images")
    masks = {p.with_suffix("").as_posix(): p for p in pictures_in(root / "masks")}
    lone = [p.as_posix() for p in pictures if p.with_suffix("").as_posix() not in masks]
    if lone:
        raise SourceError(
            f"{root}: {how_many(len(lone), 'picture')} without a mask, the first is {lone[0]}"
        )
    if not pictures:
        raise SourceError(f"{root / 'images'} holds no picture")
    keys = tuple(p.as_posix() for p in pictures)
    named = {} if labels is None else _column(root, labels)
    missing = [key for key in keys if labels is not None and key not in named]
    if missing:
        raise SourceError(f"{root}/metadata.csv has no row for {missing[0]}")
    return MaskFiles(
        tuple(root / "images" / key for key in keys),
        tuple(root / "masks" / masks[p.with_suffix("").as_posix()] for p in pictures),
        keys,
        tuple(named.get(key) for key in keys),
        _classes(request, set(named.values())),
        request.class_masks,
    )


def _classes(request: Request, labels: set[str]) -> tuple[str, ...]:
    if request.class_masks and (request.labels is not None or not request.classes):
        raise UsageError(
            "masks of classes need --classes a,b,c, the names of 1, 2, 3 in the masks, and no "
            "--labels"
        )
    known = request.classes or tuple(sorted(labels))
    if not known:
        raise UsageError("no class names: give --labels COLUMN of metadata.csv, or --classes a,b,c")
    strange = sorted(labels - set(known))
    if strange:
        raise UsageError(f"label {strange[0]!r} of metadata.csv is not among --classes")
    return known


def metadata_rows(root: Path) -> list[dict[str, str]]:
    """Return the rows of metadata.csv.

    Raises:
        UsageError: it cannot be read.
    """
    return read_rows(root / "metadata.csv", "a CSV with a row for each picture")[1]


def _column(root: Path, name: str) -> dict[str, str]:
    """Return picture -> value of a column of metadata.csv; paths count from images/ or above."""
    rows = metadata_rows(root)
    if not rows or name not in rows[0] or "img_filename" not in rows[0]:
        there = ", ".join(rows[0]) if rows else "nothing"
        raise UsageError(
            f"{root / 'metadata.csv'}: expected columns img_filename and {name}, found {there}"
        )
    return {row["img_filename"].removeprefix("images/"): row[name] for row in rows}


LAYOUT = Layout(
    "pairs",
    "images/ and masks/ (pairs)",
    lambda root: (root / "images").is_dir() and (root / "masks").is_dir(),
    open_pairs,
    frozenset({"labels", "masks"}),
)
