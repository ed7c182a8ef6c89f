"""Mammals and sea creatures, facing right."""

from typing import Final

from demo.world.palette import Paint
from demo.world.vector import Silhouette, blob, box, disc, ellipse, polygon, silhouette, stroke

BODY, SHADE, LIGHT, INK, PAPER = Paint.BODY, Paint.SHADE, Paint.LIGHT, Paint.INK, Paint.PAPER
GLASS, CRIMSON = Paint.GLASS, Paint.CRIMSON

CAT = silhouette(
    stroke(BODY, 0.11, (0.24, 0.92), (0.04, 0.86), (0.00, 0.66), (0.08, 0.52)),
    blob(BODY, (0.30, 0.36), (0.72, 0.36), (0.84, 1.04), (0.14, 1.04)),
    polygon(BODY, (0.28, 0.00), (0.54, 0.14), (0.30, 0.34)),
    polygon(BODY, (0.84, 0.00), (0.58, 0.14), (0.82, 0.34)),
    ellipse(BODY, 0.56, 0.30, 0.29, 0.22),
    disc(PAPER, 0.46, 0.28, 0.07),
    disc(PAPER, 0.67, 0.28, 0.07),
    disc(INK, 0.47, 0.28, 0.04),
    disc(INK, 0.66, 0.28, 0.04),
    polygon(INK, (0.52, 0.37), (0.61, 0.37), (0.565, 0.43)),
    stroke(SHADE, 0.04, (0.46, 0.72), (0.46, 0.98)),
    stroke(SHADE, 0.04, (0.62, 0.72), (0.62, 0.98)),
)

ELEPHANT = silhouette(
    box(SHADE, 0.26, 0.60, 0.40, 0.94),
    box(SHADE, 0.58, 0.60, 0.72, 0.94),
    box(BODY, 0.12, 0.60, 0.28, 0.96),
    box(BODY, 0.46, 0.60, 0.62, 0.96),
    ellipse(BODY, 0.38, 0.46, 0.36, 0.29),
    stroke(SHADE, 0.04, (0.04, 0.40), (-0.02, 0.62)),
    disc(BODY, 0.76, 0.34, 0.22),
    stroke(BODY, 0.13, (0.92, 0.38), (0.99, 0.60), (0.98, 0.78), (1.08, 0.84)),
    stroke(PAPER, 0.05, (0.84, 0.52), (0.92, 0.58)),
    blob(SHADE, (0.50, 0.10), (0.76, 0.18), (0.70, 0.58), (0.52, 0.60), (0.42, 0.34)),
    disc(INK, 0.85, 0.29, 0.04),
    scale=1.08,
)

RABBIT = silhouette(
    ellipse(BODY, 0.40, 0.12, 0.09, 0.25, -10),
    ellipse(BODY, 0.66, 0.12, 0.09, 0.25, 10),
    ellipse(LIGHT, 0.40, 0.14, 0.04, 0.17, -10),
    ellipse(LIGHT, 0.66, 0.14, 0.04, 0.17, 10),
    disc(PAPER, 0.18, 0.90, 0.10),
    ellipse(BODY, 0.52, 0.80, 0.30, 0.28),
    ellipse(BODY, 0.53, 0.44, 0.24, 0.20),
    ellipse(LIGHT, 0.52, 0.84, 0.15, 0.16),
    disc(INK, 0.45, 0.40, 0.045),
    disc(INK, 0.62, 0.40, 0.045),
    disc(CRIMSON, 0.535, 0.49, 0.04),
    ellipse(BODY, 0.34, 1.05, 0.14, 0.07),
    ellipse(BODY, 0.70, 1.05, 0.14, 0.07),
    scale=1.08,
)

GIRAFFE = silhouette(
    box(SHADE, 0.24, 0.60, 0.32, 0.98),
    box(SHADE, 0.54, 0.60, 0.62, 0.98),
    box(BODY, 0.12, 0.58, 0.21, 1.00),
    box(BODY, 0.44, 0.58, 0.53, 1.00),
    ellipse(BODY, 0.36, 0.56, 0.29, 0.15, -8),
    polygon(BODY, (0.42, 0.52), (0.64, 0.60), (0.76, 0.06), (0.62, 0.06)),
    blob(BODY, (0.58, -0.04), (0.78, -0.06), (1.00, 0.12), (0.94, 0.22), (0.66, 0.18)),
    stroke(SHADE, 0.05, (0.66, 0.00), (0.62, -0.12)),
    stroke(SHADE, 0.05, (0.72, 0.00), (0.72, -0.13)),
    stroke(SHADE, 0.04, (0.09, 0.54), (0.00, 0.72)),
    disc(INK, 0.77, 0.05, 0.04),
    scale=1.16,
)

FISH = silhouette(
    polygon(SHADE, (0.22, 0.50), (-0.06, 0.22), (0.02, 0.50), (-0.06, 0.78)),
    polygon(SHADE, (0.36, 0.28), (0.46, 0.08), (0.70, 0.26)),
    polygon(SHADE, (0.46, 0.72), (0.44, 0.88), (0.64, 0.74)),
    blob(BODY, (0.08, 0.50), (0.40, 0.16), (0.84, 0.22), (1.06, 0.50), (0.84, 0.78), (0.40, 0.84)),
    disc(PAPER, 0.80, 0.42, 0.08),
    disc(INK, 0.82, 0.42, 0.045),
    stroke(SHADE, 0.04, (0.66, 0.36), (0.70, 0.50), (0.66, 0.64)),
)

_CRAB_LEGS = tuple(
    part
    for side in (-1, 1)
    for start, knee, foot in (
        ((0.24, 0.62), (0.40, 0.60), (0.46, 0.76)),
        ((0.20, 0.70), (0.34, 0.74), (0.36, 0.90)),
        ((0.12, 0.74), (0.20, 0.84), (0.20, 0.96)),
    )
    for part in stroke(
        SHADE, 0.06,
        (0.5 + side * start[0], start[1]),
        (0.5 + side * knee[0], knee[1]),
        (0.5 + side * foot[0], foot[1]),
    )
)  # fmt: skip
_CRAB_CLAWS = tuple(
    part
    for side in (-1, 1)
    for part in (
        *stroke(BODY, 0.09, (0.5 + side * 0.26, 0.56), (0.5 + side * 0.44, 0.42)),
        disc(BODY, 0.5 + side * 0.45, 0.27, 0.15),
        polygon(
            Paint.NONE,
            (0.5 + side * 0.42, 0.28), (0.5 + side * 0.36, 0.06), (0.5 + side * 0.52, 0.06),
        ),
    )
)  # fmt: skip

CRAB = silhouette(
    _CRAB_CLAWS,
    _CRAB_LEGS,
    stroke(BODY, 0.06, (0.42, 0.50), (0.40, 0.32)),
    stroke(BODY, 0.06, (0.58, 0.50), (0.60, 0.32)),
    ellipse(BODY, 0.50, 0.64, 0.32, 0.20),
    disc(PAPER, 0.40, 0.30, 0.065),
    disc(PAPER, 0.60, 0.30, 0.065),
    disc(INK, 0.40, 0.30, 0.035),
    disc(INK, 0.60, 0.30, 0.035),
    scale=1.12,
)

OCTOPUS = silhouette(
    stroke(BODY, 0.12, (0.34, 0.58), (0.14, 0.66), (0.02, 0.58)),
    stroke(BODY, 0.12, (0.66, 0.58), (0.86, 0.66), (0.98, 0.58)),
    stroke(SHADE, 0.12, (0.36, 0.60), (0.26, 0.82), (0.08, 0.88)),
    stroke(SHADE, 0.12, (0.64, 0.60), (0.74, 0.82), (0.92, 0.88)),
    stroke(BODY, 0.12, (0.44, 0.60), (0.42, 0.86), (0.32, 1.00)),
    stroke(BODY, 0.12, (0.56, 0.60), (0.58, 0.86), (0.68, 1.00)),
    blob(
        BODY, (0.10, -0.04), (0.90, -0.04), (0.90, 0.48), (0.72, 0.74), (0.28, 0.74), (0.10, 0.48)
    ),
    disc(PAPER, 0.38, 0.42, 0.09),
    disc(PAPER, 0.62, 0.42, 0.09),
    disc(INK, 0.39, 0.43, 0.05),
    disc(INK, 0.61, 0.43, 0.05),
    scale=1.08,
)

WHALE = silhouette(
    stroke(GLASS, 0.06, (0.70, 0.30), (0.70, 0.08), (0.58, 0.00)),
    stroke(GLASS, 0.06, (0.70, 0.30), (0.70, 0.08), (0.82, 0.00)),
    stroke(BODY, 0.13, (0.26, 0.66), (0.10, 0.52), (0.08, 0.34)),
    blob(BODY, (0.06, 0.42), (-0.16, 0.30), (-0.10, 0.14), (0.06, 0.26)),
    blob(BODY, (0.08, 0.42), (0.32, 0.30), (0.26, 0.14), (0.08, 0.26)),
    blob(
        BODY, (0.10, 0.52), (0.30, 0.56), (0.52, 0.24), (0.96, 0.24), (1.06, 0.62), (0.92, 0.90),
        (0.34, 0.92),
    ),
    blob(PAPER, (0.40, 0.84), (0.72, 0.72), (1.03, 0.66), (0.94, 0.90), (0.46, 0.92)),
    disc(INK, 0.86, 0.54, 0.045),
    scale=1.06,
)  # fmt: skip

ANIMALS: Final[dict[str, Silhouette]] = {
    "cat": CAT,
    "elephant": ELEPHANT,
    "rabbit": RABBIT,
    "giraffe": GIRAFFE,
    "fish": FISH,
    "crab": CRAB,
    "octopus": OCTOPUS,
    "whale": WHALE,
}
