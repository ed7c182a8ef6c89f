"""Silhouettes filled, shaded and outlined at a size: everything about an object but its colour."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from demo.world.palette import LAST_TEXTURED, Paint, paint_table
from demo.world.silhouettes import SILHOUETTES
from demo.world.textures import FULL, SUBPIXELS, texture
from demo.world.vector import fill, turned

_OUTLINE: Final = 0.62
_SHADOW: Final = 0.26
_BEVEL: Final = 5
MARGIN: Final = 3
"""Empty pixels around the drawing, where its outline and shadow fall."""


@dataclass(frozen=True)
class Sprite:
    """A kind at one size, side and tilt, cut to its bounding box plus a margin of three pixels.

    `paint` and `light` (1/256) are at three subpixels a pixel; `cover` (subpixels 0..9) and
    `surround` (what the outline and the shadow leave of the background's light, 0..1) are pixels.
    """

    paint: UInt8[np.ndarray, "subrow subcolumn"]
    light: Int[np.ndarray, "subrow subcolumn"]
    cover: UInt8[np.ndarray, "row column"]
    surround: Float32[np.ndarray, "row column"]

    @property
    def height(self) -> int:
        """Pixels, with the margin."""
        return self.cover.shape[0]

    @property
    def width(self) -> int:
        """Pixels, with the margin."""
        return self.cover.shape[1]


@lru_cache(maxsize=8192)
def sprite(kind: int, size: int, mirrored: bool, tilt: int) -> Sprite:
    """Draw a kind, its longer side `size` pixels times the kind's scale, tilted in degrees."""
    paint = _painted(kind, size, tilt)
    if mirrored:
        paint = paint[:, ::-1]
    paint = _cut(paint)
    solid = paint > 0
    cover = _blocks(solid.astype(np.uint8))
    near = np.minimum(_blocks(_grown(solid, 3).astype(np.uint8)), 9) / np.float32(9)
    shadow = np.roll(_box_mean(near, 1), (1, 1), axis=(0, 1))
    surround = (1 - np.float32(_OUTLINE) * near) * (1 - np.float32(_SHADOW) * shadow)
    return Sprite(
        paint=np.ascontiguousarray(paint),
        light=_bevel(solid),
        cover=cover,
        surround=surround.astype(np.float32),
    )


def coloured(
    shape: Sprite, colour: int, pattern: int, rng: np.random.Generator
) -> Int[np.ndarray, "row column channel"]:
    """Sum of RGB (0..255) over each pixel's covered subpixels: colour, texture and shading."""
    height, width = shape.paint.shape
    textured = (shape.paint > Paint.NONE) & (shape.paint <= LAST_TEXTURED)
    tile = np.where(textured, texture(pattern, height, width, rng), FULL)
    rgb = paint_table(colour)[shape.paint]
    white = np.maximum(tile - FULL, 0)
    if white.any():
        rgb = rgb + (255 - rgb) * white[..., None] // FULL
    light = shape.light * np.minimum(tile, FULL) // FULL
    rgb = rgb * light[..., None] // FULL
    return _sums(np.minimum(rgb, 255))


def _painted(kind: int, size: int, tilt: int) -> UInt8[np.ndarray, "subrow subcolumn"]:
    drawing = SILHOUETTES[kind]
    side = round(size * drawing.scale) * SUBPIXELS
    # A tilted drawing overhangs the unit square: draw on a grid half as large again.
    margin = side // 4
    paint = np.zeros((side + 2 * margin, side + 2 * margin), dtype=np.uint8)
    for part in drawing.parts:
        points = turned(np.array(part.points), tilt) * side + margin
        paint[fill(points, len(paint))] = part.paint
    return paint


def _cut(
    paint: UInt8[np.ndarray, "subrow subcolumn"],
) -> UInt8[np.ndarray, "cutrow cutcolumn"]:
    rows = np.flatnonzero(paint.any(axis=1))
    columns = np.flatnonzero(paint.any(axis=0))
    inner = paint[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    edge = MARGIN * SUBPIXELS
    spare = [-length % SUBPIXELS for length in inner.shape]
    return np.pad(inner, [(edge, edge + spare[0]), (edge, edge + spare[1])])


def _grown(solid: Bool[np.ndarray, "row column"], by: int) -> Bool[np.ndarray, "row column"]:
    grown = solid.copy()
    for axis in (0, 1):
        source = grown.copy()
        for step in range(1, by + 1):
            grown |= np.roll(source, step, axis=axis) | np.roll(source, -step, axis=axis)
    return grown


def _bevel(solid: Bool[np.ndarray, "row column"]) -> Int[np.ndarray, "row column"]:
    """Light from the upper left: the slope of a blurred outline, as if the object were rounded."""
    soft = _box_mean(_box_mean(solid.astype(np.float32), _BEVEL), _BEVEL)
    slope = np.roll(soft, (-4, -4), axis=(0, 1)) - np.roll(soft, (4, 4), axis=(0, 1))
    light = FULL * np.clip(1.0 + 0.34 * slope, 0.72, 1.22)
    return np.asarray(np.rint(light).astype(np.int32))


def _box_mean(
    values: Float32[np.ndarray, "row column"], reach: int
) -> Float32[np.ndarray, "row column"]:
    for axis in (0, 1):
        total = values.copy()
        for step in range(1, reach + 1):
            total += np.roll(values, step, axis=axis) + np.roll(values, -step, axis=axis)
        values = total / np.float32(2 * reach + 1)
    return values


def _blocks(values: UInt8[np.ndarray, "subrow subcolumn"]) -> UInt8[np.ndarray, "row column"]:
    return np.asarray(_sums(values[..., None].astype(np.int32))[..., 0].astype(np.uint8))


def _sums(
    values: Int[np.ndarray, "subrow subcolumn channel"],
) -> Int[np.ndarray, "row column channel"]:
    height, width, channels = values.shape
    blocks = values.reshape(height // SUBPIXELS, SUBPIXELS, width // SUBPIXELS, SUBPIXELS, channels)
    return np.asarray(blocks.sum(axis=(1, 3), dtype=np.int32))
