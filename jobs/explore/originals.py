"""A picture of the database, read again from its source and made small for a page.

Imported when the first picture is asked for: a page itself needs no source and no decoder.
"""

import io
import textwrap
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from jobs.explore.database import Database
from jobs.explore.pictures import Drawn
from pipeline.pictures.decode import Decoding, Rejected, decode
from pipeline.sources.reader import Reader

THUMBNAIL: Final = 192
LARGE: Final = 960
SHOWN: Final = Decoding(on_white=True)


def original(database: Database, scan: str, image_id: int, how: Decoding = SHOWN) -> Image.Image:
    """Return a picture as it is, or as a model is to see it.

    Raises:
        Rejected: it is not in the database, or cannot be read any more.
    """
    with database.cursor() as cursor:
        row = cursor.ask("picture_source", scan=scan, image_id=image_id).first
    if row is None:
        raise Rejected("read", f"no picture {image_id} in scan {scan}")
    with Reader() as reader:
        data = reader.reread(str(row["key"]), str(row["uri"]), str(row["fingerprint"]))
    return decode(data, how)


def drawn(database: Database, scan: str, image_id: int, *, large: bool) -> Drawn:
    """Return a picture as JPEG, `THUMBNAIL` or `LARGE` pixels at most; or why there is none."""
    side = LARGE if large else THUMBNAIL
    try:
        picture = original(database, scan, image_id)
    except Rejected as error:
        return Drawn(_jpeg(_placeholder(error.reason)), "image/jpeg", there=False)
    if max(picture.size) > side:
        picture.thumbnail((side, side))
    return Drawn(_jpeg(picture), "image/jpeg", there=True)


def _jpeg(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "JPEG", quality=90, subsampling=0)
    return stream.getvalue()


def _placeholder(reason: str) -> Image.Image:
    """Draw a grey square that says why there is no picture."""
    tile = Image.new("RGB", (THUMBNAIL, THUMBNAIL), "#d5d5d0")
    text = "\n".join(["picture is gone", "", *textwrap.wrap(reason, 19)[:5]])
    font = ImageFont.load_default(size=17)
    ImageDraw.Draw(tile).multiline_text((12, 12), text, fill="#333", spacing=5, font=font)
    return tile
