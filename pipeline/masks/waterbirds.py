"""Waterbirds (Sagawa et al., 2020): birds on backgrounds, with CUB-200-2011's segmentations."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.masks.base import (
    Example,
    Layout,
    Request,
    foreground,
    need_names,
    paired,
    read_indices,
    read_picture,
)
from pipeline.masks.pairs import metadata_rows
from pipeline.pictures.decode import EXACT, Decoding
from schemas.errors import SourceError, UsageError

MASKS = "segmentations"
COLUMNS = ("img_filename", "y", "split", "place")
CLASSES = ("landbird", "waterbird")
TEST = "2"
# A CUB mask is the share of annotators who saw the bird: half of them, of 255.
HALF = 127


@dataclass(frozen=True)
class Waterbirds:
    """The pictures of the test split; a picture's class is its bird's."""

    root: Path
    keys: tuple[str, ...]
    labels: tuple[str | None, ...]
    classes: tuple[str, ...] = CLASSES
    by_class: bool = False

    def read(self, index: int, how: Decoding = EXACT) -> Example:
        """Read a pair; foreground is where half of CUB's annotators saw the bird."""
        key = self.keys[index]
        found = read_picture(self.root / key, how)
        values = read_indices(self.root / MASKS / Path(key).with_suffix(".png"))
        return paired(found, foreground(values, HALF), key)


def is_waterbirds(root: Path) -> bool:
    """Whether metadata.csv has Waterbirds' columns."""
    if not (root / "metadata.csv").is_file():
        return False
    try:
        rows = metadata_rows(root)
    except UsageError:
        return False
    return bool(rows) and set(COLUMNS) <= rows[0].keys()


def open_waterbirds(request: Request) -> Waterbirds:
    """List the test split; the classes asked for name land birds and water birds.

    Raises:
        SourceError: the masks are missing, or there is no test picture.
        UsageError: there are not two names.
    """
    root = request.root
    if not (root / MASKS).is_dir():
        raise SourceError(
            f"{root / MASKS} is missing; Waterbirds' masks are CUB-200-2011's segmentations: "
            "unpack segmentations.tgz there"
        )
    rows = [row for row in metadata_rows(root) if row["split"] == TEST]
    if not rows:
        raise SourceError(f"{root / 'metadata.csv'} has no row of the test split (split = {TEST})")
    strange = sorted({row["y"] for row in rows} - {"0", "1"})
    if strange:
        raise SourceError(f"{root / 'metadata.csv'}: y is {strange[0]!r}, expected 0 or 1")
    names = need_names(
        request.classes or CLASSES, len(CLASSES), "Waterbirds", "order of y: land, water"
    )
    return Waterbirds(
        root,
        tuple(row["img_filename"] for row in rows),
        tuple(names[int(row["y"])] for row in rows),
        names,
    )


LAYOUT = Layout(
    "Waterbirds",
    "metadata.csv with y, split and place, and segmentations/ (Waterbirds)",
    is_waterbirds,
    open_waterbirds,
)
