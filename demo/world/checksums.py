"""Digests of the pictures that the seed must give; `python -m demo.world checksums` makes them."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from demo.world.factors import FACTORS, SEED
from demo.world.scenes import batch
from demo.world.splits import SPLITS
from schemas.errors import CorruptStore

CHECKSUMS: Final = Path(__file__).with_name("CHECKSUMS.json")
PICTURES: Final = 64
"""Pictures of each split that the digests cover."""


def digest(split: str, count: int = PICTURES, seed: int = SEED) -> str:
    """SHA-256 of the bytes of a split's first pictures, then masks, then factors (int64)."""
    pictures = batch(split, 0, count, seed)
    total = hashlib.sha256(pictures.images.tobytes())
    total.update(pictures.masks.tobytes())
    for name in FACTORS:
        total.update(pictures.factors[name].astype("<i8").tobytes())
    return total.hexdigest()


def expected_digests() -> dict[str, str]:
    """Read the digests kept with the code, by split."""
    digests: dict[str, str] = json.loads(CHECKSUMS.read_text())
    return digests


def verify_checksums(splits: Iterable[str] = tuple(SPLITS)) -> None:
    """Draw the first pictures of these splits and compare; raise CorruptStore if a byte differs."""
    expected = expected_digests()
    for split in splits:
        got = digest(split)
        if got != expected.get(split):
            raise CorruptStore(
                f"split {split!r}: got pictures of digest {got[:12]}, expected the repository's "
                f"{str(expected.get(split))[:12]}, which the demo model was measured on: install "
                "the versions in constraints.txt, or, after a change of the drawing, run "
                "`python -m demo.world checksums` and train again"
            )


def write_checksums() -> None:
    """Draw the first pictures of every split and keep their digests with the code."""
    digests = {split: digest(split) for split in SPLITS}
    CHECKSUMS.write_text(json.dumps(digests, indent=2) + "\n")
