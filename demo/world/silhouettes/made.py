"""Vehicles, buildings and geometric shapes."""

import math
from typing import Final

from demo.world.palette import Paint
from demo.world.vector import Silhouette, blob, box, disc, ellipse, polygon, silhouette

BODY, SHADE, LIGHT, INK, PAPER = Paint.BODY, Paint.SHADE, Paint.LIGHT, Paint.INK, Paint.PAPER
GOLD, WOOD, GLASS, CRIMSON = Paint.GOLD, Paint.WOOD, Paint.GLASS, Paint.CRIMSON

CAR = silhouette(
    blob(BODY, (0.20, 0.52), (0.28, 0.18), (0.70, 0.18), (0.82, 0.52)),
    box(BODY, 0.20, 0.42, 0.80, 0.56),
    blob(BODY, (-0.04, 0.44), (1.04, 0.44), (1.06, 0.80), (-0.06, 0.80)),
    polygon(GLASS, (0.31, 0.31), (0.48, 0.31), (0.48, 0.46), (0.27, 0.46)),
    polygon(GLASS, (0.53, 0.31), (0.67, 0.31), (0.73, 0.46), (0.53, 0.46)),
    disc(INK, 0.25, 0.77, 0.14),
    disc(INK, 0.75, 0.77, 0.14),
    disc(PAPER, 0.25, 0.77, 0.055),
    disc(PAPER, 0.75, 0.77, 0.055),
    disc(GOLD, 0.97, 0.57, 0.04),
    scale=1.06,
)

BOAT = silhouette(
    box(WOOD, 0.46, 0.00, 0.52, 0.74),
    blob(BODY, (0.54, 0.04), (0.62, 0.10), (0.98, 0.64), (0.54, 0.66)),
    polygon(BODY, (0.54, 0.04), (0.94, 0.64), (0.54, 0.64)),
    polygon(LIGHT, (0.44, 0.14), (0.44, 0.64), (0.10, 0.64)),
    polygon(SHADE, (-0.02, 0.72), (1.04, 0.72), (0.84, 0.98), (0.18, 0.98)),
    scale=1.06,
)

PLANE = silhouette(
    polygon(SHADE, (0.38, 0.44), (0.60, 0.44), (0.40, 0.02), (0.28, 0.02)),
    polygon(SHADE, (0.38, 0.56), (0.60, 0.56), (0.40, 0.98), (0.28, 0.98)),
    polygon(SHADE, (0.00, 0.50), (0.14, 0.50), (0.06, 0.24), (-0.04, 0.24)),
    polygon(SHADE, (0.00, 0.50), (0.14, 0.50), (0.06, 0.76), (-0.04, 0.76)),
    blob(BODY, (-0.08, 0.42), (0.80, 0.36), (1.08, 0.50), (0.80, 0.64), (-0.08, 0.58)),
    polygon(GLASS, (0.82, 0.44), (0.92, 0.46), (0.92, 0.54), (0.82, 0.56)),
    scale=1.12,
)

ROCKET = silhouette(
    polygon(GOLD, (0.38, 0.84), (0.62, 0.84), (0.50, 1.12)),
    polygon(SHADE, (0.34, 0.50), (0.10, 0.90), (0.36, 0.84)),
    polygon(SHADE, (0.66, 0.50), (0.90, 0.90), (0.64, 0.84)),
    blob(
        BODY, (0.50, -0.12), (0.74, 0.24), (0.74, 0.66), (0.66, 0.90), (0.34, 0.90), (0.26, 0.66),
        (0.26, 0.24),
    ),
    disc(PAPER, 0.50, 0.36, 0.11),
    disc(GLASS, 0.50, 0.36, 0.075),
    scale=1.14,
)  # fmt: skip

HOUSE = silhouette(
    box(SHADE, 0.70, 0.06, 0.82, 0.34),
    box(BODY, 0.12, 0.44, 0.88, 1.00),
    polygon(SHADE, (-0.04, 0.48), (0.50, 0.00), (1.04, 0.48)),
    box(WOOD, 0.42, 0.66, 0.60, 1.00),
    box(GLASS, 0.20, 0.56, 0.36, 0.74),
    box(GLASS, 0.66, 0.56, 0.82, 0.74),
)

_BATTLEMENTS = tuple(
    box(BODY, x, y, x + 0.09, y + 0.14)
    for x, y in ((0.00, 0.10), (0.12, 0.10), (0.24, 0.10), (0.67, 0.10), (0.79, 0.10), (0.91, 0.10),
                 (0.36, 0.34), (0.48, 0.34), (0.58, 0.34))
)  # fmt: skip

CASTLE = silhouette(
    _BATTLEMENTS,
    box(BODY, 0.00, 0.20, 0.33, 1.00),
    box(BODY, 0.67, 0.20, 1.00, 1.00),
    box(BODY, 0.30, 0.44, 0.70, 1.00),
    box(WOOD, 0.41, 0.72, 0.59, 1.00),
    disc(WOOD, 0.50, 0.72, 0.09),
    box(INK, 0.13, 0.40, 0.20, 0.56),
    box(INK, 0.80, 0.40, 0.87, 0.56),
)

LIGHTHOUSE = silhouette(
    polygon(BODY, (0.36, 0.30), (0.64, 0.30), (0.74, 1.00), (0.26, 1.00)),
    polygon(SHADE, (0.34, 0.46), (0.66, 0.46), (0.68, 0.60), (0.32, 0.60)),
    polygon(GOLD, (0.62, 0.13), (1.00, 0.02), (1.00, 0.34), (0.62, 0.23)),
    box(GOLD, 0.40, 0.10, 0.60, 0.28),
    box(INK, 0.30, 0.27, 0.70, 0.33),
    polygon(SHADE, (0.32, 0.12), (0.50, -0.06), (0.68, 0.12)),
    box(WOOD, 0.43, 0.82, 0.57, 1.00),
    scale=1.14,
)

CIRCLE = silhouette(disc(BODY, 0.5, 0.5, 0.5), scale=0.92)
SQUARE = silhouette(box(BODY, 0.0, 0.0, 1.0, 1.0), scale=0.86)
TRIANGLE = silhouette(polygon(BODY, (0.5, 0.0), (1.04, 0.92), (-0.04, 0.92)))
STAR = silhouette(
    polygon(
        BODY,
        *(
            (
                round(0.5 + radius * math.sin(math.radians(36 * step)), 6),
                round(0.5 - radius * math.cos(math.radians(36 * step)), 6),
            )
            for step in range(10)
            for radius in (0.5 if step % 2 == 0 else 0.23,)
        ),
    ),
    scale=1.12,
)
HEART = silhouette(
    ellipse(BODY, 0.27, 0.30, 0.29, 0.26, 20),
    ellipse(BODY, 0.73, 0.30, 0.29, 0.26, -20),
    blob(BODY, (0.02, 0.40), (0.50, 0.16), (0.98, 0.40), (0.54, 1.0), (0.46, 1.0)),
    polygon(BODY, (0.02, 0.42), (0.50, 0.20), (0.98, 0.42), (0.50, 0.98)),
)

VEHICLES: Final[dict[str, Silhouette]] = {
    "car": CAR,
    "boat": BOAT,
    "plane": PLANE,
    "rocket": ROCKET,
}
BUILDINGS: Final[dict[str, Silhouette]] = {
    "house": HOUSE,
    "castle": CASTLE,
    "lighthouse": LIGHTHOUSE,
}
SHAPES: Final[dict[str, Silhouette]] = {
    "circle": CIRCLE,
    "square": SQUARE,
    "triangle": TRIANGLE,
    "star": STAR,
    "heart": HEART,
}
