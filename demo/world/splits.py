"""Which factors a picture has: independent in the plain splits, correlated in the birds splits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from demo.world.factors import (
    CATEGORY_OF_KIND,
    FACTORS,
    HELD_OUT,
    LAND_BIRD_KINDS,
    PLACES,
    WATER_BIRD,
    WATER_BIRD_KINDS,
)
from schemas.errors import UnknownName

BIAS: Final = 0.985
"""Share of pictures in the biased birds splits whose place fits the bird."""

_HELD_OUT_PAIRS: Final = tuple(sorted(HELD_OUT))


@dataclass(frozen=True)
class Split:
    """A stream of pictures. `code` enters the seed; `alignment` is None outside the birds splits,
    else the chance that bird and place fit."""

    code: int
    alignment: float | None = None
    only_held_out: bool = False


SPLITS: Final[dict[str, Split]] = {
    "train": Split(0),
    "val": Split(1),
    "test": Split(2),
    "test_heldout": Split(3, only_held_out=True),
    "birds_train": Split(10, alignment=BIAS),
    "birds_val": Split(11, alignment=BIAS),
    "birds_select": Split(12, alignment=0.5),
    "birds_test": Split(13, alignment=0.5),
}


def split_named(name: str) -> Split:
    """Look up a split; raise UnknownName if there is none."""
    if name not in SPLITS:
        raise UnknownName.among("split", name, SPLITS)
    return SPLITS[name]


def draw_factors(split: Split, rng: np.random.Generator) -> dict[str, int]:
    """Draw a picture's factors, in the order of FACTORS."""
    sizes = {name: len(values) for name, values in FACTORS.items()}
    background, texture, tone, count = rng.integers(
        0, (sizes["background"], sizes["texture"], sizes["tone"], sizes["count"])
    ).tolist()
    if split.alignment is None:
        bird, kinds = -1, tuple(range(sizes["kind"]))
    else:
        bird, fits = int(rng.integers(0, 2)), rng.random() < split.alignment
        kinds = WATER_BIRD_KINDS if bird == WATER_BIRD else LAND_BIRD_KINDS
        places = PLACES[bird if fits else 1 - bird]
        background, count = places[int(rng.integers(0, len(places)))], 0
    kind, colour = _kind_and_colour(split, kinds, rng)
    return {
        "kind": kind,
        "category": CATEGORY_OF_KIND[kind],
        "colour": colour,
        "count": count,
        "texture": texture,
        "background": background,
        "tone": tone,
        "bird": bird,
    }


def place_of(factors: Mapping[str, int]) -> int:
    """Waterbirds' place of a birds-split picture: 0 land, 1 water."""
    return int(factors["background"] in PLACES[WATER_BIRD])


def _kind_and_colour(
    split: Split, kinds: tuple[int, ...], rng: np.random.Generator
) -> tuple[int, int]:
    if split.only_held_out:
        return _HELD_OUT_PAIRS[int(rng.integers(0, len(_HELD_OUT_PAIRS)))]
    while True:
        kind = kinds[int(rng.integers(0, len(kinds)))]
        colour = int(rng.integers(0, len(FACTORS["colour"])))
        if (kind, colour) not in HELD_OUT:
            return kind, colour
