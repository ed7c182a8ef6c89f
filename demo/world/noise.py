"""Smooth noise on tiles that repeat without a seam, made once and cut at random places."""

from functools import cache
from typing import Final

import numpy as np
from jaxtyping import Float32

TILE: Final = 192


@cache
def smooth(cell: int, octaves: int = 1) -> Float32[np.ndarray, "row column"]:
    """Value noise in -1..1 on a tile of 192 pixels; `cell` (a divisor of 192) is its grain.

    Each further octave halves the grain and the strength.
    """
    total = np.zeros((TILE, TILE), dtype=np.float32)
    for octave in range(octaves):
        total += _layer(max(cell >> octave, 1), octave) * np.float32(0.5**octave)
    total = total / np.abs(total).max()
    total.setflags(write=False)
    return total


def cut(
    tile: Float32[np.ndarray, "row column *rest"], side: int, rng: np.random.Generator
) -> Float32[np.ndarray, "side side *rest"]:
    """Cut a window of `side` x `side` pixels out of a tile, at random."""
    top, left = rng.integers(0, TILE - side + 1, size=2)
    return tile[top : top + side, left : left + side]


def _layer(cell: int, octave: int) -> Float32[np.ndarray, "row column"]:
    knots = TILE // cell
    rng = np.random.default_rng([cell, octave])
    grid = rng.integers(-1000, 1001, size=(knots, knots)).astype(np.float32) / np.float32(1000)
    position = np.arange(TILE) // cell
    t = (np.arange(TILE, dtype=np.float32) % cell + np.float32(0.5)) / np.float32(cell)
    t = t * t * (3 - 2 * t)
    following = (position + 1) % knots
    rows = grid[position] * (1 - t)[:, None] + grid[following] * t[:, None]
    return np.asarray(rows[:, position] * (1 - t) + rows[:, following] * t)
