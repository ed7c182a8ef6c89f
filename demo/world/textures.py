"""Textures of an object's fill: they change the paint's lightness and leave its hue to colour."""

from functools import cache
from typing import Final

import numpy as np
from jaxtyping import Int

from demo.world.factors import FACTORS

SUBPIXELS: Final = 3
"""Subpixels per pixel and axis: everything is drawn three times too large, then averaged."""

FULL: Final = 256
"""Light factors are integers in 1/256; above FULL, the excess mixes the paint with white."""

_DARK: Final = 132
_SPOT: Final = FULL + 200
_GROUND: Final = 186
_TILE: Final = 300
_MIRROR: Final = 180


@cache
def _tiles() -> dict[str, tuple[Int[np.ndarray, "row column"], ...]]:
    """The variants of each texture, on a tile of 300 x 300 subpixels."""
    y, x = np.mgrid[0:_TILE, 0:_TILE].astype(np.int32)
    plain = np.full_like(x, FULL)
    check = (x // 9 + y // 9) % 2 == 0
    patterns: dict[str, tuple[np.ndarray[tuple[int, int], np.dtype[np.int32]], ...]] = {
        "plain": (plain,),
        "striped": tuple(
            np.where((y + slant) % 15 < 8, _DARK, plain) for slant in (x // 4, (_MIRROR - x) // 4)
        ),
        # Pale spots, dark stripes and checks: at five pixels a period only the sign tells them.
        "spotted": tuple(np.where(spots, _SPOT, _GROUND) for spots in (_spots(x, y), _spots(y, x))),
        "checkered": (np.where(check, _DARK, plain),),
    }
    return {name: tuple(v.astype(np.int32) for v in tiles) for name, tiles in patterns.items()}


def _spots(
    x: np.ndarray[tuple[int, int], np.dtype[np.int32]],
    y: np.ndarray[tuple[int, int], np.dtype[np.int32]],
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
    variant, top, left = rng.integers(0, (len(variants), 60, 60))
    tile = variants[int(variant)]
    return tile[top : top + height, left : left + width]
