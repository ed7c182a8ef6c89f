"""Contact sheets: pictures of a split in rows, each over one of its captions."""

import textwrap
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from demo.world.captions import caption
from demo.world.factors import IMAGE_SIZE, SEED
from demo.world.scenes import scene
from demo.world.splits import split_named

_GAP: Final = 10
_LINE: Final = 14
_LINES: Final = 3
_TEXT_SIZE: Final = 11
_CHARACTER: Final = 6
_PAPER: Final = (255, 255, 255)
_INK: Final = (60, 60, 66)


def contact_sheet(
    split: str,
    rows: int,
    columns: int,
    *,
    start: int = 0,
    scale: int = 2,
    captions: bool = True,
    seed: int = SEED,
    image_size: int = IMAGE_SIZE,
) -> Image.Image:
    """Lay out pictures `start`, `start + 1`, ... of a split, enlarged, each over a caption.

    Raises UnknownName for a split that does not exist and UsageError as `scene` does.
    """
    code = split_named(split).code
    side = image_size * scale
    width, height = side + _GAP, side + _GAP + (_LINES * _LINE if captions else 0)
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_TEXT_SIZE)
    for place in range(rows * columns):
        left, top = _GAP + place % columns * width, _GAP + place // columns * height
        index = start + place
        drawn = scene(split, index, seed, image_size)
        picture = Image.fromarray(drawn.image).resize((side, side), Image.Resampling.LANCZOS)
        sheet.paste(picture, (left, top))
        if captions:
            rng = np.random.default_rng([seed, code, index, 1])
            text = caption(drawn.factors, rng, split=split).text
            for number, line in enumerate(textwrap.wrap(text, side // _CHARACTER)[:_LINES]):
                draw.text((left, top + side + 2 + number * _LINE), line, fill=_INK, font=font)
    return sheet
