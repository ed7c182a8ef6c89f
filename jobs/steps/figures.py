"""Figures as files that are whole or absent."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.files.atomic import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figure(figure: "Figure", path: Path, dpi: float | None = None) -> None:
    """Write a figure in the format that the file's suffix names; make its folder."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix[1:].lower(), dpi=dpi or "figure")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, drawn.getvalue())
