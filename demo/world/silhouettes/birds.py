"""Water birds and land birds, facing right."""

from typing import Final

from demo.world.palette import Paint
from demo.world.vector import Silhouette, blob, disc, ellipse, polygon, silhouette, stroke

BODY, SHADE, LIGHT, INK, PAPER = Paint.BODY, Paint.SHADE, Paint.LIGHT, Paint.INK, Paint.PAPER
GOLD, WOOD, CRIMSON = Paint.GOLD, Paint.WOOD, Paint.CRIMSON

DUCK = silhouette(
    polygon(BODY, (0.0, 0.40), (0.24, 0.52), (0.10, 0.78)),
    ellipse(BODY, 0.44, 0.68, 0.40, 0.24),
    ellipse(BODY, 0.66, 0.50, 0.16, 0.22),
    disc(BODY, 0.71, 0.30, 0.20),
    polygon(GOLD, (0.86, 0.24), (1.10, 0.36), (0.86, 0.44)),
    ellipse(SHADE, 0.38, 0.66, 0.22, 0.11, -12),
    disc(INK, 0.77, 0.25, 0.05),
)

SWAN = silhouette(
    polygon(BODY, (-0.02, 0.50), (0.26, 0.58), (0.10, 0.82)),
    ellipse(BODY, 0.42, 0.76, 0.40, 0.20),
    blob(LIGHT, (0.04, 0.46), (0.44, 0.44), (0.66, 0.72), (0.46, 0.88), (0.20, 0.80)),
    stroke(BODY, 0.13, (0.72, 0.76), (0.82, 0.60), (0.76, 0.42), (0.66, 0.26), (0.68, 0.10)),
    ellipse(BODY, 0.75, 0.08, 0.13, 0.09, 10),
    polygon(GOLD, (0.86, 0.02), (1.04, 0.17), (0.84, 0.17)),
    disc(INK, 0.80, 0.06, 0.035),
    scale=1.08,
)

FLAMINGO = silhouette(
    stroke(GOLD, 0.05, (0.40, 0.50), (0.40, 1.02), (0.48, 1.02)),
    stroke(GOLD, 0.05, (0.48, 0.50), (0.62, 0.70), (0.44, 0.76)),
    ellipse(BODY, 0.40, 0.44, 0.32, 0.18, -8),
    polygon(BODY, (0.20, 0.32), (-0.02, 0.56), (0.30, 0.58)),
    stroke(BODY, 0.10, (0.66, 0.44), (0.76, 0.32), (0.66, 0.20), (0.62, 0.08), (0.72, 0.02)),
    ellipse(BODY, 0.75, 0.03, 0.10, 0.07),
    stroke(INK, 0.07, (0.86, 0.06), (0.87, 0.16)),
    ellipse(SHADE, 0.36, 0.44, 0.18, 0.08, -8),
    scale=1.16,
)

PELICAN = silhouette(
    stroke(GOLD, 0.06, (0.26, 0.70), (0.26, 0.98), (0.36, 0.98)),
    stroke(GOLD, 0.06, (0.42, 0.70), (0.42, 0.98), (0.52, 0.98)),
    polygon(BODY, (-0.08, 0.74), (0.14, 0.40), (0.30, 0.74)),
    ellipse(BODY, 0.32, 0.58, 0.28, 0.23, -14),
    stroke(BODY, 0.15, (0.48, 0.50), (0.58, 0.34), (0.52, 0.16)),
    disc(BODY, 0.55, 0.12, 0.13),
    blob(GOLD, (0.60, 0.06), (1.14, 0.26), (1.00, 0.46), (0.74, 0.56), (0.58, 0.20)),
    ellipse(SHADE, 0.26, 0.58, 0.18, 0.12, -20),
    disc(INK, 0.57, 0.08, 0.04),
    scale=1.12,
)

OWL = silhouette(
    polygon(BODY, (0.16, 0.0), (0.46, 0.16), (0.20, 0.36)),
    polygon(BODY, (0.84, 0.0), (0.54, 0.16), (0.80, 0.36)),
    ellipse(BODY, 0.50, 0.62, 0.34, 0.38),
    ellipse(BODY, 0.50, 0.32, 0.36, 0.24),
    blob(SHADE, (0.10, 0.46), (0.26, 0.50), (0.30, 0.84), (0.18, 0.88)),
    blob(SHADE, (0.90, 0.46), (0.74, 0.50), (0.70, 0.84), (0.82, 0.88)),
    disc(PAPER, 0.35, 0.32, 0.15),
    disc(PAPER, 0.65, 0.32, 0.15),
    disc(INK, 0.36, 0.33, 0.08),
    disc(INK, 0.64, 0.33, 0.08),
    polygon(GOLD, (0.44, 0.40), (0.56, 0.40), (0.50, 0.54)),
    polygon(GOLD, (0.34, 0.95), (0.46, 0.95), (0.40, 1.04)),
    polygon(GOLD, (0.54, 0.95), (0.66, 0.95), (0.60, 1.04)),
)

ROOSTER = silhouette(
    stroke(GOLD, 0.06, (0.40, 0.74), (0.38, 1.00), (0.48, 1.00)),
    stroke(GOLD, 0.06, (0.54, 0.74), (0.54, 1.00), (0.64, 1.00)),
    stroke(SHADE, 0.13, (0.28, 0.60), (0.10, 0.42), (0.12, 0.16), (0.22, 0.10)),
    stroke(SHADE, 0.13, (0.28, 0.66), (0.02, 0.56), (-0.06, 0.34)),
    stroke(SHADE, 0.12, (0.26, 0.72), (0.04, 0.76), (-0.06, 0.64)),
    ellipse(BODY, 0.46, 0.62, 0.30, 0.22, 8),
    blob(BODY, (0.52, 0.10), (0.88, 0.10), (0.84, 0.70), (0.50, 0.80), (0.44, 0.46)),
    disc(CRIMSON, 0.60, 0.08, 0.07),
    disc(CRIMSON, 0.70, 0.04, 0.08),
    disc(CRIMSON, 0.80, 0.09, 0.06),
    disc(BODY, 0.71, 0.22, 0.13),
    polygon(GOLD, (0.82, 0.16), (1.00, 0.25), (0.82, 0.31)),
    disc(CRIMSON, 0.80, 0.38, 0.06),
    disc(INK, 0.74, 0.19, 0.04),
    scale=1.06,
)

_FAN = tuple(
    disc(BODY, x, y, 0.13)
    for x, y in ((0.05, 0.62), (0.09, 0.38), (0.25, 0.18), (0.50, 0.09),
                 (0.75, 0.18), (0.91, 0.38), (0.95, 0.62))
)  # fmt: skip
_EYES = tuple(
    disc(SHADE, x, y, 0.06)
    for x, y in ((0.07, 0.60), (0.12, 0.39), (0.27, 0.21), (0.50, 0.12),
                 (0.73, 0.21), (0.88, 0.39), (0.93, 0.60))
)  # fmt: skip

PEACOCK = silhouette(
    _FAN,
    polygon(
        BODY, (0.50, 0.90), (-0.02, 0.66), (0.05, 0.38), (0.25, 0.16), (0.50, 0.08),
        (0.75, 0.16), (0.95, 0.38), (1.02, 0.66),
    ),
    _EYES,
    stroke(GOLD, 0.05, (0.44, 0.86), (0.44, 1.02)),
    stroke(GOLD, 0.05, (0.56, 0.86), (0.56, 1.02)),
    ellipse(INK, 0.50, 0.76, 0.16, 0.17),
    stroke(INK, 0.14, (0.50, 0.70), (0.50, 0.42)),
    disc(INK, 0.50, 0.42, 0.11),
    polygon(GOLD, (0.58, 0.36), (0.74, 0.45), (0.58, 0.50)),
    disc(PAPER, 0.53, 0.39, 0.045),
    scale=1.1,
)  # fmt: skip

PARROT = silhouette(
    polygon(SHADE, (0.30, 0.52), (0.50, 0.66), (0.16, 1.12), (0.04, 1.06)),
    stroke(WOOD, 0.08, (0.20, 0.76), (0.92, 0.70)),
    blob(BODY, (0.50, 0.08), (0.80, 0.12), (0.84, 0.48), (0.60, 0.86), (0.30, 0.76), (0.34, 0.40)),
    disc(BODY, 0.63, 0.20, 0.19),
    blob(GOLD, (0.76, 0.08), (1.00, 0.16), (0.90, 0.46), (0.80, 0.32)),
    blob(SHADE, (0.36, 0.40), (0.58, 0.42), (0.50, 0.74), (0.24, 0.84)),
    disc(PAPER, 0.66, 0.16, 0.075),
    disc(INK, 0.68, 0.16, 0.04),
    scale=1.1,
)

BIRDS: Final[dict[str, Silhouette]] = {
    "duck": DUCK,
    "swan": SWAN,
    "flamingo": FLAMINGO,
    "pelican": PELICAN,
    "owl": OWL,
    "rooster": ROOSTER,
    "peacock": PEACOCK,
    "parrot": PARROT,
}
