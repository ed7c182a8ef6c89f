"""Textures of an object's fill: they darken the paint and leave its hue, so colour stays apart."""

from functools import cache
from typing import Final

import numpy as np
from jaxtyping import Int

from demo.world.factors import FACTORS

SUBPIXELS: Final = 3
"""Subpixels per pixel and axis: everything is drawn three times too large, then averaged."""

FULL: Final = 256
"""Light factors are integers in 1/256."""

_DARK: Final = 138
_PERIOD: Final = 15
_TILE: Final = 180


@cache
def _tiles() -> dict[str, tuple[Int[np.ndarray, "row column"], ...]]:
    """The variants of each texture, on a tile of 180 x 180 subpixels."""
    y, x = np.mgrid[0:_TILE, 0:_TILE]
    diagonal = (x + y) % (_PERIOD + 6)
    patterns = {
        "plain": (np.zeros_like(x, dtype=bool),),
        "striped": (
            diagonal < 10,
            diagonal[:, ::-1] < 10,
            x % _PERIOD < 7,
            y % _PERIOD < 7,
        ),
        "spotted": (_spots(x, y), _spots(y, x)),
        "checkered": ((x // 9 + y // 9) % 2 == 0,),
    }
    return {
        name: tuple(np.where(dark, _DARK, FULL).astype(np.int32) for dark in variants)
        for name, variants in patterns.items()
    }


def _spots(
    x: np.ndarray[tuple[int, int], np.dtype[np.int64]],
    y: np.ndarray[tuple[int, int], np.dtype[np.int64]],
) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    period, height, radius_squared = 18, 15, 23
    shifted = x + (y // height % 2) * (period // 2)
    dx, dy = shifted % period - period // 2, y % height - height // 2
    return np.asarray(dx * dx + dy * dy <= radius_squared)


def texture(
    code: int, height: int, width: int, rng: np.random.Generator
) -> Int[np.ndarray, "height width"]:
    """Cut a light factor (1/256) at a random phase and orientation; sizes are subpixels."""
    variants = _tiles()[FACTORS["texture"][code]]
    variant, top, left = rng.integers(0, (len(variants), 36, 36))
    tile = variants[int(variant)]
    return tile[top : top + height, left : left + width]
