"""Splits written out as PNG files, masks and a metadata.csv; written once while intact."""

import csv
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from PIL import Image

from demo.world.captions import caption
from demo.world.checksums import expected_digests
from demo.world.factors import FACTORS, IMAGE_SIZE, SEED
from demo.world.scenes import Scene, scene
from demo.world.splits import place_of, split_named
from schemas.errors import UsageError

METADATA: Final = "metadata.csv"
STAMP: Final = "stamp.json"

BIRDS_COUNTS: Final[Mapping[str, int]] = MappingProxyType(
    {"birds_train": 2000, "birds_val": 500, "birds_test": 2000, "birds_select": 1000}
)
BIRDS_SPLIT_CODES: Final[Mapping[str, int]] = MappingProxyType(
    {"birds_train": 0, "birds_val": 1, "birds_test": 2, "birds_select": 3}
)
"""Waterbirds' own codes for train, val and test; 3 is the balanced split to choose heads on."""

_CAPTION_STREAM: Final = 1


def materialise(
    split: str, directory: Path, count: int, seed: int = SEED, side: int = IMAGE_SIZE
) -> Path:
    """Write the first `count` pictures of a split, and return the path of their metadata.csv.

    images/000000.png, masks/000000.png (0 or 255) and one row a picture: its path, its mask's, a
    column a factor (value names; `bird` is empty outside the birds splits) and a caption. The
    directory appears at once, complete; if it is there already, made from the same split, count,
    seed, side and drawing, and no file of it has changed, nothing is written.

    Raises UnknownName for an unknown split, and UsageError for a directory of something else or a
    side that `scene` refuses.
    """
    split_named(split)

    def write(target: Path) -> None:
        rows = _write_pictures(split, count, seed, side, target, "")
        header = ["img_filename", "mask_filename", *FACTORS, "caption"]
        _write_csv(target / METADATA, header, (_plain_row(split, seed, *row) for row in rows))

    return _made_once(directory, _recipe({split: count}, seed, side), write)


def materialise_birds(
    directory: Path,
    counts: Mapping[str, int] = BIRDS_COUNTS,
    seed: int = SEED,
    side: int = IMAGE_SIZE,
) -> Path:
    """Write the birds splits in the layout of Waterbirds, and return the path of metadata.csv.

    Columns: img_id, img_filename, y (0 land bird, 1 water bird), split (0 train, 1 val, 2 test, 3
    select), place (0 land, 1 water), place_filename (here the background's name). A picture's mask
    has the same path under masks/ as the picture under images/. Kept and refused as `materialise`
    does; UsageError also for a split that is none of the birds'.
    """
    if not set(counts) <= set(BIRDS_SPLIT_CODES):
        raise UsageError(f"got splits {sorted(counts)}, expected some of {[*BIRDS_SPLIT_CODES]}")

    def write(target: Path) -> None:
        rows: list[list[str | int]] = []
        for split, count in counts.items():
            pictures = _write_pictures(split, count, seed, side, target, f"{split}/")
            for _, path, drawn in pictures:
                place = FACTORS["background"][drawn.factors["background"]]
                bird, where = drawn.factors["bird"], place_of(drawn.factors)
                rows.append([len(rows) + 1, path, bird, BIRDS_SPLIT_CODES[split], where, place])
        header = ["img_id", "img_filename", "y", "split", "place", "place_filename"]
        _write_csv(target / METADATA, header, iter(rows))

    return _made_once(directory, _recipe(counts, seed, side), write)


def materialise_collages(
    directory: Path, count: int, seed: int = SEED, side: int = IMAGE_SIZE
) -> Path:
    """Write pictures of four scenes of split `test` each, with the category of every pixel.

    images/000000.png is 2 x 2 scenes, twice `side` wide and high; masks/000000.png of the same size
    is 0 on the places and 1, 2, 3 ... on objects of FACTORS["category"]. Return the directory; kept
    and refused as `materialise` does.
    """

    def write(target: Path) -> None:
        for kind in ("images", "masks"):
            (target / kind).mkdir()
        for index in range(count):
            scenes = [scene("test", 4 * index + corner, seed, side) for corner in range(4)]
            classes = [
                np.where(one.mask > 0, one.factors["category"] + 1, 0).astype(np.uint8)
                for one in scenes
            ]
            name = f"{index:06d}.png"
            Image.fromarray(_joined([one.image for one in scenes])).save(target / "images" / name)
            Image.fromarray(_joined(classes)).save(target / "masks" / name)

    recipe = {**_recipe({"test": 4 * count}, seed, side), "layout": "collages"}
    return _made_once(directory, recipe, write).parent


def _joined(corners: Sequence[np.ndarray]) -> np.ndarray:
    """Lay four pictures of one size out as 2 x 2."""
    return np.concatenate([np.concatenate(corners[i : i + 2], axis=1) for i in (0, 2)])


def _recipe(counts: Mapping[str, int], seed: int, side: int) -> dict[str, object]:
    """What a directory is made from; the drawing code enters by the digests kept with it."""
    digests = expected_digests(side)
    return {
        "seed": seed,
        "side": side,
        "counts": dict(counts),
        "drawing": {split: digests.get(split) for split in counts},
    }


def _made_once(
    directory: Path, recipe: Mapping[str, object], write: Callable[[Path], None]
) -> Path:
    metadata = directory / METADATA
    stamp = directory / STAMP
    if directory.exists() and any(directory.iterdir()):
        if not stamp.is_file():
            raise UsageError(
                f"{directory} holds files that were not made here, expected an empty or new "
                "directory: give another one"
            )
        if json.loads(stamp.read_text()) == {"recipe": recipe, "sha256": _digest_of(directory)}:
            return metadata
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{directory.name}-", dir=directory.parent) as scratch:
        fresh = Path(scratch) / "fresh"
        fresh.mkdir()
        write(fresh)
        record = {"recipe": recipe, "sha256": _digest_of(fresh)}
        (fresh / STAMP).write_text(json.dumps(record, indent=2) + "\n")
        if directory.exists():
            directory.rename(Path(scratch) / "stale")
        fresh.rename(directory)
    return metadata


def _digest_of(directory: Path) -> str:
    """SHA-256 over the paths and bytes of all files but the stamp."""
    total = hashlib.sha256()
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path.name != STAMP)
    for path in files:
        total.update(path.relative_to(directory).as_posix().encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _write_pictures(
    split: str, count: int, seed: int, side: int, target: Path, folder: str
) -> Iterator[tuple[int, str, Scene]]:
    for kind in ("images", "masks"):
        (target / kind / folder).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        drawn = scene(split, index, seed, side)
        name = f"{folder}{index:06d}.png"
        mask = np.where(drawn.mask > 0, 255, 0).astype(np.uint8)
        Image.fromarray(drawn.image).save(target / "images" / name, compress_level=3)
        Image.fromarray(mask).save(target / "masks" / name, compress_level=3)
        yield index, f"images/{name}", drawn


def _plain_row(split: str, seed: int, index: int, path: str, drawn: Scene) -> list[str | int]:
    rng = np.random.default_rng([seed, split_named(split).code, index, _CAPTION_STREAM])
    codes = drawn.factors
    values = [FACTORS[name][codes[name]] if codes[name] >= 0 else "" for name in FACTORS]
    text = caption(codes, rng, split=split).text
    return [path, path.replace("images/", "masks/", 1), *values, text]


def _write_csv(path: Path, header: list[str], rows: Iterator[list[str | int]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
