"""One perceptual colour scale: cell colours, the ink that reads on them, and the legend."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# viridis at nine steps (Smith and van der Walt): even in lightness, readable without colour vision
_STEPS: Final = (
    (0x44, 0x01, 0x54),
    (0x47, 0x2D, 0x7B),
    (0x3B, 0x52, 0x8B),
    (0x2C, 0x72, 0x8E),
    (0x21, 0x91, 0x8C),
    (0x28, 0xAE, 0x80),
    (0x5E, 0xC9, 0x62),
    (0xAD, 0xDC, 0x30),
    (0xFD, 0xE7, 0x25),
)
# ten hues of equal weight for names: Tableau's colours, dark enough for white ink
_NAMES: Final = (
    "#4e79a7", "#b6552a", "#2f7d6b", "#a3434b", "#6b5b95",
    "#7a6a1f", "#8c4f80", "#3f6f3a", "#5f6b73", "#9a5b2e",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A cell's colour, as CSS, and the colour of text upon it."""

    colour: str
    ink: str


def shade(value: float | None, low: float, high: float) -> Cell | None:
    """Return the colour of a number between `low` and `high`; None of no number."""
    if value is None or value != value:
        return None
    at = 0.0 if high <= low else min(1.0, max(0.0, (value - low) / (high - low)))
    place = at * (len(_STEPS) - 1)
    index = min(int(place), len(_STEPS) - 2)
    part = place - index
    pairs = zip(_STEPS[index], _STEPS[index + 1], strict=True)
    red, green, blue = (round(a + (b - a) * part) for a, b in pairs)
    return Cell(f"#{red:02x}{green:02x}{blue:02x}", _ink(red, green, blue))


def _ink(*channels: int) -> str:
    """Return black or white, whichever contrasts more (WCAG relative luminance)."""
    linear = [
        c / 12.92 if (c := value / 255) <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for value in channels
    ]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "#fff"


def gradient() -> str:
    """Return the scale as a CSS gradient, for the legend."""
    stops = ", ".join(f"#{r:02x}{g:02x}{b:02x}" for r, g, b in _STEPS)
    return f"linear-gradient(to right, {stops})"


def name_colours(names: Sequence[str], roles: Sequence[str] = ()) -> dict[str, Cell]:
    """Return a colour for each of the names, in order; colours repeat after ten.

    Roles come first, so that one has the same colour wherever its name is among others.
    """
    ordered = [*sorted(set(roles)), *sorted(set(names) - set(roles))]
    colours = {name: Cell(_NAMES[at % len(_NAMES)], "#fff") for at, name in enumerate(ordered)}
    return {name: cell for name, cell in colours.items() if name in set(names)}
