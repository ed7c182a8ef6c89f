"""One picture: a place, one to four objects of one kind, and the light over them."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations, pairwise
from multiprocessing import get_context
from typing import Final

import numpy as np
from jaxtyping import Int64, UInt8

from demo.world.backgrounds import background
from demo.world.factors import FACTORS, IMAGE_SIZE, LARGEST_SIZE, SEED
from demo.world.splits import draw_factors, split_named
from demo.world.sprites import MARGIN, Sprite, coloured, sprite
from demo.world.tones import toned
from schemas.errors import UsageError

BIRD_SIZE = 16
"""Pixels (longer side, before the kind's scale) of the one bird in the birds splits, at 64."""

SIZES: Final = ((19, 28), (18, 26), (17, 24), (17, 22))
"""Smallest and largest size of the objects by count - 1; they overlap, so size tells little.

For pictures of 64 pixels; larger ones have larger objects."""

_TILTS: Final = (-8, 0, 8)
_TRIES: Final = 24
_SUBPIXELS_PER_PIXEL: Final = 9


@dataclass(frozen=True)
class Scene:
    """A picture and its truth: `mask` is 0 on the background and k on the k-th object."""

    image: UInt8[np.ndarray, "row column channel"]
    mask: UInt8[np.ndarray, "row column"]
    factors: dict[str, int]


@dataclass(frozen=True)
class Batch:
    """Pictures start..stop of a split; `factors` maps a factor's name to one code a picture."""

    images: UInt8[np.ndarray, "image row column channel"]
    masks: UInt8[np.ndarray, "image row column"]
    factors: dict[str, Int64[np.ndarray, " image"]]


def scene(split: str, index: int, seed: int = SEED, side: int = IMAGE_SIZE) -> Scene:
    """Draw picture `index` of a split; it depends on nothing but (seed, split, index, side).

    `side` is its height and width, 64 to 96 pixels. A larger picture has larger objects and more
    of its place's grain; its factors are those of the smaller one, its layout is another.

    Raises UnknownName for a split that does not exist and UsageError for another side.
    """
    chosen = split_named(split)
    if not IMAGE_SIZE <= side <= LARGEST_SIZE:
        raise UsageError(
            f"got pictures of {side} pixels a side, expected {IMAGE_SIZE} to {LARGEST_SIZE}"
        )
    rng = np.random.default_rng([seed, chosen.code, index])
    factors = draw_factors(chosen, rng)
    picture = background(factors["background"], side, rng)
    mask = np.zeros((side, side), dtype=np.uint8)
    shapes = _shapes(factors, side, rng)
    for number, (shape, (top, left)) in enumerate(
        zip(shapes, _positions(shapes, side, rng), strict=True), start=1
    ):
        window = slice(top, top + shape.height), slice(left, left + shape.width)
        paint = coloured(shape, factors["colour"], factors["texture"], rng).astype(np.float32)
        see_through = (_SUBPIXELS_PER_PIXEL - shape.cover) / np.float32(_SUBPIXELS_PER_PIXEL)
        below = picture[window] * (shape.surround * see_through)[..., None]
        picture[window] = below + paint / np.float32(_SUBPIXELS_PER_PIXEL)
        mask[window][shape.cover * 2 > _SUBPIXELS_PER_PIXEL] = number
    lit = toned(picture, factors["tone"], rng)
    image = np.clip(np.rint(lit), 0, 255).astype(np.uint8)
    return Scene(image=image, mask=mask, factors=factors)


@dataclass(frozen=True)
class Painters:
    """Processes that draw; each keeps the sprites that it has drawn once."""

    count: int
    pool: ProcessPoolExecutor


@contextmanager
def painters(count: int) -> Iterator[Painters]:
    """Start `count` processes for `batch`, and end them."""
    # Spawned, not forked: a fork of a process that runs torch's threads may hang.
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        yield Painters(count, pool)


def batch(
    split: str,
    start: int,
    stop: int,
    seed: int = SEED,
    by: Painters | None = None,
    side: int = IMAGE_SIZE,
) -> Batch:
    """Draw pictures start..stop (not included), here or `by` other processes: the same bytes.

    Raises UnknownName for a split that does not exist and UsageError as `scene` does.
    """
    split_named(split)
    if by is None or by.count == 1 or stop - start < by.count:
        return _drawn(split, start, stop, seed, side)
    edges = np.linspace(start, stop, by.count + 1).round().astype(int).tolist()
    pending = [
        by.pool.submit(_drawn, split, low, high, seed, side) for low, high in pairwise(edges)
    ]
    parts = [future.result() for future in pending]
    return Batch(
        images=np.concatenate([part.images for part in parts]),
        masks=np.concatenate([part.masks for part in parts]),
        factors={name: np.concatenate([part.factors[name] for part in parts]) for name in FACTORS},
    )


def _drawn(split: str, start: int, stop: int, seed: int, side: int) -> Batch:
    scenes = [scene(split, index, seed, side) for index in range(start, stop)]
    size = (side, side)
    return Batch(
        images=np.array([s.image for s in scenes], dtype=np.uint8).reshape(-1, *size, 3),
        masks=np.array([s.mask for s in scenes], dtype=np.uint8).reshape(-1, *size),
        factors={
            name: np.array([s.factors[name] for s in scenes], dtype=np.int64) for name in FACTORS
        },
    )


def _shapes(factors: dict[str, int], side: int, rng: np.random.Generator) -> list[Sprite]:
    """Pick the size, side and tilt of each object."""
    count = factors["count"] + 1
    if factors["bird"] >= 0:
        smallest, largest = BIRD_SIZE - 1, BIRD_SIZE + 1
    else:
        low, high = SIZES[count - 1]
        middle = int(rng.integers(low, high + 1))
        smallest, largest = max(middle - 2, low), min(middle + 2, high)
    sizes = (rng.integers(smallest, largest + 1, size=count) * side // IMAGE_SIZE).tolist()
    mirrored = rng.integers(0, 2, size=count).tolist()
    tilts = rng.integers(0, len(_TILTS), size=count).tolist()
    return [
        sprite(factors["kind"], size, flip == 1, _TILTS[tilt])
        for size, flip, tilt in zip(sizes, mirrored, tilts, strict=True)
    ]


def _positions(shapes: list[Sprite], side: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Place the objects apart, at random; failing that, one to a quarter of the picture."""
    for _ in range(_TRIES):
        corners = [
            (
                int(rng.integers(0, side - shape.height + 1)),
                int(rng.integers(0, side - shape.width + 1)),
            )
            for shape in shapes
        ]
        placed = list(zip(shapes, corners, strict=True))
        if all(_apart(*a, *b) for a, b in combinations(placed, 2)):
            return corners
    quarters = rng.permutation(4)[: len(shapes)].tolist()
    return [
        (
            _within_half(shape.height, quarter // 2, side, rng),
            _within_half(shape.width, quarter % 2, side, rng),
        )
        for shape, quarter in zip(shapes, quarters, strict=True)
    ]


def _apart(a: Sprite, at_a: tuple[int, int], b: Sprite, at_b: tuple[int, int]) -> bool:
    """Whether two frames overlap in no more than their empty margins, less three pixels."""
    shared = 2 * MARGIN - 3
    return (
        at_a[0] + a.height - shared <= at_b[0]
        or at_b[0] + b.height - shared <= at_a[0]
        or at_a[1] + a.width - shared <= at_b[1]
        or at_b[1] + b.width - shared <= at_a[1]
    )


def _within_half(length: int, half: int, side: int, rng: np.random.Generator) -> int:
    slack = int(rng.integers(0, max(side // 2 - length, 0) + 1))
    return slack if half == 0 else side - length - slack
