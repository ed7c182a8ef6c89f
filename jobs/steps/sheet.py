"""Contact sheets: rows of pictures under a title, each with a line above and a line below."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

SIDE, GAP, LINE = 112, 10, 16


@dataclass(frozen=True)
class Tile:
    """A picture with its two lines."""

    picture: Image.Image
    above: str
    below: str


def contact_sheet(rows: Sequence[tuple[str, Sequence[Tile]]], columns: int) -> Image.Image:
    """Draw rows of tiles, each row under its title, wrapped after `columns`."""
    font, bold = ImageFont.load_default(12), ImageFont.load_default(14)
    lines = [
        (title if i == 0 else "", tiles[i : i + columns])
        for title, tiles in rows
        for i in range(0, max(1, len(tiles)), columns)
    ]
    height = SIDE + 2 * LINE + GAP
    total = sum(height + (LINE + 6 if title else 0) for title, _ in lines) + GAP
    sheet = Image.new("RGB", (columns * (SIDE + GAP) + GAP, total), "white")
    draw = ImageDraw.Draw(sheet)
    y = GAP
    for title, tiles in lines:
        if title:
            draw.text((GAP, y), title, fill="black", font=bold)
            y += LINE + 6
        for i, tile in enumerate(tiles):
            x = GAP + i * (SIDE + GAP)
            draw.text((x, y), tile.above[:18], fill="#555555", font=font)
            sheet.paste(_fitted(tile.picture), (x, y + LINE))
            draw.text((x, y + LINE + SIDE), tile.below[:18], fill="black", font=font)
        y += height
    return sheet


def _fitted(picture: Image.Image) -> Image.Image:
    """Return the picture in a square of the tile's side, enlarged if it is small."""
    scale = SIDE / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    fitted = Image.new("RGB", (SIDE, SIDE), "white")
    resized = picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX)
    fitted.paste(resized, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return fitted
