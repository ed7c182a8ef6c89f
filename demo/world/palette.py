"""The colours of objects, and the paints that a silhouette's parts are drawn in."""

from enum import IntEnum
from functools import cache
from typing import Final

import numpy as np
from jaxtyping import Int

from demo.world.factors import FACTORS

BODY_RGB: Final = {
    "red": (222, 38, 42),
    "orange": (250, 132, 20),
    "yellow": (250, 218, 32),
    "green": (54, 176, 62),
    "blue": (40, 96, 226),
    "purple": (136, 56, 190),
    "pink": (250, 138, 186),
    "white": (244, 244, 246),
}


class Paint(IntEnum):
    """What a part of a silhouette is painted with; NONE is see-through.

    BODY, SHADE and LIGHT follow the object's colour and carry its texture; the rest are fixed.
    """

    NONE = 0
    BODY = 1
    SHADE = 2
    LIGHT = 3
    INK = 4
    PAPER = 5
    GOLD = 6
    WOOD = 7
    GLASS = 8
    LEAF = 9
    CRIMSON = 10
    CREAM = 11


LAST_TEXTURED: Final = Paint.LIGHT

_FIXED_RGB: Final = {
    Paint.INK: (34, 30, 40),
    Paint.PAPER: (250, 250, 250),
    Paint.GOLD: (246, 176, 44),
    Paint.WOOD: (124, 82, 48),
    Paint.GLASS: (186, 222, 240),
    Paint.LEAF: (66, 140, 60),
    Paint.CRIMSON: (206, 40, 48),
    Paint.CREAM: (236, 214, 176),
}


@cache
def paint_table(colour: int) -> Int[np.ndarray, "paint channel"]:
    """RGB (0..255) of every paint for an object of this colour code; NONE is black."""
    body = np.array(BODY_RGB[FACTORS["colour"][colour]], dtype=np.int64)
    table = np.zeros((len(Paint), 3), dtype=np.int32)
    table[Paint.BODY] = body
    table[Paint.SHADE] = body * 74 // 100
    table[Paint.LIGHT] = body + (255 - body) * 34 // 100
    for paint, rgb in _FIXED_RGB.items():
        table[paint] = rgb
    table.setflags(write=False)
    return table
