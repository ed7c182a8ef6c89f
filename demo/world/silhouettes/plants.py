"""Plants and food."""

import math
from typing import Final

from demo.world.palette import Paint
from demo.world.vector import Silhouette, blob, box, disc, ellipse, polygon, silhouette, stroke

BODY, SHADE, LIGHT, INK = Paint.BODY, Paint.SHADE, Paint.LIGHT, Paint.INK
GOLD, WOOD, LEAF, CREAM, CRIMSON = Paint.GOLD, Paint.WOOD, Paint.LEAF, Paint.CREAM, Paint.CRIMSON

TREE = silhouette(
    polygon(WOOD, (0.43, 0.56), (0.57, 0.56), (0.62, 1.04), (0.38, 1.04)),
    disc(BODY, 0.24, 0.46, 0.22),
    disc(BODY, 0.76, 0.46, 0.22),
    disc(BODY, 0.36, 0.22, 0.22),
    disc(BODY, 0.64, 0.22, 0.22),
    disc(BODY, 0.50, 0.48, 0.24),
    disc(BODY, 0.50, 0.30, 0.26),
    scale=1.08,
)

_PETALS = tuple(
    disc(
        BODY,
        round(0.5 + 0.24 * math.sin(math.radians(72 * step)), 6),
        round(0.30 - 0.24 * math.cos(math.radians(72 * step)), 6),
        0.185,
    )
    for step in range(5)
)

FLOWER = silhouette(
    stroke(LEAF, 0.08, (0.50, 0.40), (0.50, 1.08)),
    ellipse(LEAF, 0.36, 0.86, 0.17, 0.075, 32),
    ellipse(LEAF, 0.64, 0.80, 0.17, 0.075, -32),
    _PETALS,
    disc(GOLD, 0.50, 0.30, 0.13),
    scale=1.14,
)

CACTUS = silhouette(
    stroke(BODY, 0.18, (0.50, 0.66), (0.16, 0.66), (0.16, 0.40)),
    stroke(BODY, 0.18, (0.50, 0.54), (0.84, 0.54), (0.84, 0.26)),
    stroke(BODY, 0.26, (0.50, 0.12), (0.50, 0.84)),
    polygon(WOOD, (0.26, 0.82), (0.74, 0.82), (0.66, 1.06), (0.34, 1.06)),
    scale=1.1,
)

MUSHROOM = silhouette(
    blob(CREAM, (0.38, 0.44), (0.62, 0.44), (0.74, 1.06), (0.26, 1.06)),
    blob(
        BODY, (-0.06, 0.56), (0.06, -0.04), (0.94, -0.04), (1.06, 0.56), (0.72, 0.60), (0.28, 0.60)
    ),
)

APPLE = silhouette(
    stroke(WOOD, 0.07, (0.50, 0.26), (0.54, 0.02)),
    ellipse(LEAF, 0.72, 0.08, 0.17, 0.08, -24),
    ellipse(BODY, 0.32, 0.52, 0.31, 0.34, 10),
    ellipse(BODY, 0.68, 0.52, 0.31, 0.34, -10),
    ellipse(BODY, 0.50, 0.68, 0.34, 0.28),
    ellipse(LIGHT, 0.20, 0.44, 0.06, 0.13, 16),
)

BANANA = silhouette(
    blob(
        BODY, (0.00, 0.30), (0.06, 0.62), (0.36, 0.92), (0.78, 0.88), (1.08, 0.56), (0.98, 0.46),
        (0.74, 0.56), (0.46, 0.54), (0.26, 0.36), (0.16, 0.16),
    ),
    polygon(INK, (0.04, 0.32), (0.20, 0.24), (0.12, 0.02), (0.02, 0.06)),
    disc(INK, 1.01, 0.51, 0.05),
    scale=1.1,
)  # fmt: skip

ICE_CREAM = silhouette(
    polygon(GOLD, (0.22, 0.50), (0.78, 0.50), (0.50, 1.20)),
    disc(BODY, 0.32, 0.38, 0.22),
    disc(BODY, 0.68, 0.38, 0.22),
    disc(BODY, 0.50, 0.18, 0.25),
    box(BODY, 0.22, 0.40, 0.78, 0.56),
    disc(CRIMSON, 0.52, -0.08, 0.09),
    scale=1.12,
)

PLANTS: Final[dict[str, Silhouette]] = {
    "tree": TREE,
    "flower": FLOWER,
    "cactus": CACTUS,
    "mushroom": MUSHROOM,
}
FOOD: Final[dict[str, Silhouette]] = {
    "apple": APPLE,
    "banana": BANANA,
    "ice cream": ICE_CREAM,
}
