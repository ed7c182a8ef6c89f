"""Maps drawn over their picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from pipeline.maps.shared import Points

PANEL = 2.6
COLUMNS = 5
# Of the page of methods, in inches: a cell, and the room for the methods' and pictures' names.
CELL = 1.15
LABELS_WIDTH, TITLES_HEIGHT = 1.35, 0.4
# Strength of the colours over the picture in grey: of the weakest value, and of the strongest.
FAINT, STRONG = 0.15, 0.85


@dataclass(frozen=True)
class Panel:
    """One map and the words over it; its points, and the mask made of them, where there are any."""

    title: str
    values: Float[np.ndarray, "grid_h grid_w"]
    points: Points | None = None
    mask: Bool[np.ndarray, "height width"] | None = None


def draw_panels(
    picture: Image.Image, panels: Sequence[Panel], *, signed: bool, title: str, unit: str
) -> Figure:
    """Draw the picture, and every map over it, all on one colour scale with a bar.

    Args:
        picture: in its own size; maps cover it whole.
        panels: at least one.
        signed: whether 0 has a meaning: two colours that meet in it, else one rising scale.
        title: over the figure.
        unit: what the colour bar shows.
    """
    count = len(panels) + 1
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    height = PANEL * min(max(picture.height / picture.width, 0.4), 2.0) + 0.35
    figure = Figure(
        figsize=(PANEL * columns + 0.9, height * rows + 0.5), layout="constrained", dpi=120
    )
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    low, high = limits([panel.values for panel in panels], signed)
    axes[0].imshow(picture)
    axes[0].set_title("picture", fontsize=9)
    grey = np.asarray(picture.convert("L"))
    box = (0.0, float(picture.width), float(picture.height), 0.0)
    drawn = None
    for ax, panel in zip(axes[1:], panels, strict=False):
        ax.imshow(grey, cmap="gray", vmin=0, vmax=255, extent=box)
        drawn = ax.imshow(
            panel.values,
            cmap="RdBu_r" if signed else "inferno",
            vmin=low,
            vmax=high,
            alpha=_opacity(panel.values, low, high, signed),
            extent=box,
            interpolation="bilinear",
        )
        ax.set_title(_wrapped(panel.title), fontsize=9)
        if panel.mask is not None:
            _outline(ax, panel.mask, box, 1.2)
        if panel.points is not None:
            _mark(ax, panel.points)
    for ax in axes:
        ax.set_axis_off()
    assert drawn is not None
    bar = figure.colorbar(drawn, ax=list(axes), shrink=0.8, pad=0.01)
    bar.set_label(unit, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    figure.suptitle(title, fontsize=10)
    return figure


def draw_page(
    pictures: Sequence[Image.Image],
    names: Sequence[str],
    masks: Sequence[Float[np.ndarray, "_ _"]],
    methods: Sequence[tuple[str, Sequence[Float[np.ndarray, "_ _"]]]],
) -> Figure:
    """Draw a page: a column for each picture, a row for each method, each map on its own scale.

    Args:
        pictures: in the order of everything else.
        names: what each picture was asked for.
        masks: 1 in the foreground; outlined on every map.
        methods: a title and one map for each picture.
    """
    tallest = max(picture.height / picture.width for picture in pictures)
    wide, high = CELL, CELL * min(tallest, 2.0)
    width = LABELS_WIDTH + wide * len(pictures)
    height = TITLES_HEIGHT + high * (len(methods) + 2)
    figure = Figure(figsize=(width, height), dpi=110)
    axes = figure.subplots(
        len(methods) + 2,
        len(pictures),
        squeeze=False,
        gridspec_kw={
            "left": LABELS_WIDTH / width,
            "right": 1 - 0.05 / width,
            "top": 1 - TITLES_HEIGHT / height,
            "bottom": 0.05 / height,
            "wspace": 0.05,
            "hspace": 0.05,
        },
    )
    for column, (picture, name, mask) in enumerate(zip(pictures, names, masks, strict=True)):
        box = (0.0, float(picture.width), float(picture.height), 0.0)
        axes[0, column].imshow(picture, extent=box)
        axes[0, column].set_title(_wrapped(name, 18), fontsize=8)
        axes[1, column].imshow(mask, cmap="gray", vmin=0, vmax=1, extent=box)
        for row, (_, maps) in enumerate(methods, start=2):
            axes[row, column].imshow(
                maps[column], cmap="inferno", interpolation="bilinear", extent=box
            )
            _outline(axes[row, column], mask > 0.5, box, 0.6)
    for row, title in enumerate(["Picture", "Mask", *(title for title, _ in methods)]):
        axes[row, 0].text(
            *(-0.08, 0.5, _wrapped(title, 18)),
            fontsize=8,
            ha="right",
            va="center",
            transform=axes[row, 0].transAxes,
        )
    for ax in axes.ravel():
        ax.set_axis_off()
    return figure


def limits(maps: Sequence[Float[np.ndarray, "grid_h grid_w"]], signed: bool) -> tuple[float, float]:
    """Return the values at the ends of the maps' scale; of signed maps, 0 is its middle."""
    low = min(float(values.min()) for values in maps)
    high = max(float(values.max()) for values in maps)
    if signed:
        high = max(abs(low), abs(high)) or 1.0
        return -high, high
    return (low, high) if high > low else (low, low + 1.0)


def _opacity(
    values: Float[np.ndarray, "grid_h grid_w"], low: float, high: float, signed: bool
) -> Float[np.ndarray, "grid_h grid_w"]:
    """Let the picture show through where a map is weak."""
    strength = np.abs(values) / high if signed else (values - low) / (high - low)
    return FAINT + (STRONG - FAINT) * np.sqrt(np.clip(strength, 0, 1))


def _mark(ax: Axes, points: Points) -> None:
    for places, colour, marker in ((points.positive, "lime", "+"), (points.negative, "red", "x")):
        if places:
            x, y = zip(*places, strict=True)
            ax.scatter(x, y, c=colour, marker=marker, s=28, linewidths=1.2)


def _outline(
    ax: Axes,
    mask: Bool[np.ndarray, "height width"],
    box: tuple[float, float, float, float],
    width: float,
) -> None:
    """Draw the border of a mask; one that is everywhere or nowhere has none."""
    if mask.any() and not mask.all():
        ax.contour(mask, levels=[0.5], colors="cyan", linewidths=width, extent=box, origin="upper")


def _wrapped(text: str, width: int = 34) -> str:
    """Break a title into lines, three at most."""
    lines: list[str] = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) + 1 > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines[:3]) + ("…" if len(lines) > 3 else "")
