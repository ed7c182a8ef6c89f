"""Digests of the pictures that the seed must give; `python -m demo.world checksums` makes them."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from demo.world.factors import FACTORS, IMAGE_SIZE, LARGEST_SIZE, SEED
from demo.world.scenes import batch
from demo.world.splits import SPLITS
from schemas.errors import CorruptStore

CHECKSUMS: Final = Path(__file__).with_name("CHECKSUMS.json")
PICTURES: Final = 64
"""Pictures of each split and size that the digests cover."""
SIDES: Final = (IMAGE_SIZE, LARGEST_SIZE)


def digest(split: str, count: int = PICTURES, seed: int = SEED, side: int = IMAGE_SIZE) -> str:
    """SHA-256 of the bytes of a split's first pictures, then masks, then factors (int64)."""
    pictures = batch(split, 0, count, seed, side=side)
    total = hashlib.sha256(pictures.images.tobytes())
    total.update(pictures.masks.tobytes())
    for name in FACTORS:
        total.update(pictures.factors[name].astype("<i8").tobytes())
    return total.hexdigest()


def expected_digests(side: int = IMAGE_SIZE) -> dict[str, str]:
    """Read the digests kept with the code, by split; none for a size that they do not cover."""
    digests: dict[str, dict[str, str]] = json.loads(CHECKSUMS.read_text())
    return digests.get(str(side), {})


def verify_checksums(splits: Iterable[str] = tuple(SPLITS), side: int = IMAGE_SIZE) -> None:
    """Draw the first pictures of these splits and compare; raise CorruptStore if a byte differs."""
    expected = expected_digests(side)
    for split in splits:
        got = digest(split, side=side)
        if got != expected.get(split):
            raise CorruptStore(
                f"split {split!r}, {side} pixels: got pictures of digest {got[:12]}, expected the "
                f"repository's {str(expected.get(split))[:12]}, which the demo model was measured "
                "on: install "
                "the versions in constraints.txt, or, after a change of the drawing, run "
                "`python -m demo.world checksums` and train again"
            )


def write_checksums() -> None:
    """Draw the first pictures of every split and size; keep their digests with the code."""
    digests = {side: {split: digest(split, side=side) for split in SPLITS} for side in SIDES}
    CHECKSUMS.write_text(json.dumps(digests, indent=2) + "\n")
