"""Outlines in a unit square (x right, y down), and filling them on a grid of pixels.

Our own scanline filling instead of Pillow's: the bytes do not change with a library's version.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float

from demo.world.palette import Paint

Point = tuple[float, float]


@dataclass(frozen=True)
class Part:
    """One filled outline of a silhouette; later parts are painted over earlier ones."""

    paint: Paint
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Silhouette:
    """A kind's drawing. `scale` makes slender kinds a little taller than stout ones."""

    parts: tuple[Part, ...]
    scale: float = 1.0


def polygon(paint: Paint, *points: Point) -> Part:
    """Straight-edged outline."""
    return Part(paint, points)


def blob(paint: Paint, *points: Point) -> Part:
    """Smooth closed outline: the points' corners cut three times (Chaikin)."""
    corners = list(points)
    for _ in range(3):
        corners = [
            (a[0] * far + b[0] * (1 - far), a[1] * far + b[1] * (1 - far))
            for a, b in zip(corners, corners[1:] + corners[:1], strict=True)
            for far in (0.75, 0.25)
        ]
    return Part(paint, tuple(corners))


def ellipse(paint: Paint, x: float, y: float, rx: float, ry: float, turn: int = 0) -> Part:
    """Ellipse of centre (x, y) and radii rx, ry, turned by `turn` degrees (clockwise)."""
    c, s = _cos_sin(turn)
    rim = (_cos_sin(degrees) for degrees in range(0, 360, 12))
    return Part(
        paint,
        tuple((x + rx * u * c - ry * v * s, y + rx * u * s + ry * v * c) for u, v in rim),
    )


def disc(paint: Paint, x: float, y: float, r: float) -> Part:
    """Circle of centre (x, y) and radius r."""
    return ellipse(paint, x, y, r, r)


def box(paint: Paint, left: float, top: float, right: float, bottom: float) -> Part:
    """Upright rectangle."""
    return Part(paint, ((left, top), (right, top), (right, bottom), (left, bottom)))


def stroke(paint: Paint, width: float, *points: Point) -> list[Part]:
    """Thick line with round ends and joints."""
    parts = [disc(paint, x, y, width / 2) for x, y in points]
    for (x0, y0), (x1, y1) in pairwise(points):
        length = math.sqrt((x1 - x0) ** 2 + (y1 - y0) ** 2)
        dx, dy = -(y1 - y0) * width / 2 / length, (x1 - x0) * width / 2 / length
        corners = ((x0 + dx, y0 + dy), (x1 + dx, y1 + dy), (x1 - dx, y1 - dy), (x0 - dx, y0 - dy))
        parts.append(Part(paint, corners))
    return parts


def silhouette(*parts: Part | Sequence[Part], scale: float = 1.0) -> Silhouette:
    """Flatten parts and strokes, and fit them into the unit square (longer side 1, centred)."""
    flat = [p for item in parts for p in ([item] if isinstance(item, Part) else item)]
    points = np.array([point for part in flat for point in part.points])
    low, high = points.min(axis=0), points.max(axis=0)
    side = float((high - low).max())
    shift = 0.5 - (low + high) / 2 / side
    fitted = [
        Part(p.paint, tuple((x / side + shift[0], y / side + shift[1]) for x, y in p.points))
        for p in flat
    ]
    return Silhouette(tuple(fitted), scale)


def turned(points: Float[np.ndarray, "point 2"], degrees: int) -> Float[np.ndarray, "point 2"]:
    """Turn points about the unit square's centre, clockwise."""
    c, s = _cos_sin(degrees)
    x, y = points[:, 0] - 0.5, points[:, 1] - 0.5
    return np.stack([x * c - y * s + 0.5, x * s + y * c + 0.5], axis=1)


def fill(points: Float[np.ndarray, "point 2"], side: int) -> Bool[np.ndarray, "row column"]:
    """Pixels of a side x side grid whose centres lie inside the outline (even-odd), in pixels."""
    x0, y0 = points[:, 0], points[:, 1]
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    centres = np.arange(side) + 0.5
    edge, row = np.nonzero((y0[:, None] <= centres) != (y1[:, None] <= centres))
    along = (centres[row] - y0[edge]) / (y1[edge] - y0[edge])
    crossing = x0[edge] + along * (x1[edge] - x0[edge])
    column = np.clip(np.ceil(crossing - 0.5).astype(np.int64), 0, side)
    toggles = np.bincount(row * (side + 1) + column, minlength=side * (side + 1))
    inside = np.cumsum(toggles.reshape(side, side + 1), axis=1)[:, :side] % 2 == 1
    return np.asarray(inside)


def _cos_sin(degrees: int) -> Point:
    # Rounded, so that a last-bit difference between C libraries cannot move a pixel.
    angle = math.radians(degrees)
    return round(math.cos(angle), 6), round(math.sin(angle), 6)
