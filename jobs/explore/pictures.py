"""Pictures by scan and number, never by path: read again, made small, and kept a while."""

import io
import textwrap
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from jobs.explore.database import Database
from pipeline.pictures.decode import Decoding, Rejected, decode
from pipeline.sources.reader import Reader

THUMBNAIL: Final = 192
LARGE: Final = 960
KEPT_BYTES: Final = 64 * 2**20
SHOWN: Final = Decoding(on_white=True)


@dataclass(frozen=True)
class Drawn:
    """An encoded picture, and whether the source still had it."""

    data: bytes
    media_type: str
    there: bool


class Pictures:
    """Thumbnails, made once and kept in memory up to a number of bytes."""

    def __init__(self, database: Database) -> None:
        """Look pictures up in `database`."""
        self._database = database
        self._kept: OrderedDict[tuple[str, int, bool], Drawn] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def read(self, scan: str, image_id: int, *, large: bool = False) -> Drawn:
        """Return a picture as JPEG; a placeholder that says so when it is not there any more."""
        at = (scan, image_id, large)
        with self._lock:
            if at in self._kept:
                self._kept.move_to_end(at)
                return self._kept[at]
        drawn = self._draw(scan, image_id, LARGE if large else THUMBNAIL)
        if drawn.there:
            self._keep(at, drawn)
        return drawn

    def original(self, scan: str, image_id: int, how: Decoding = SHOWN) -> Image.Image:
        """Return a picture as it is, or as a model is to see it.

        Raises:
            Rejected: it is not in the database, or cannot be read any more.
        """
        with self._database.cursor() as cursor:
            row = cursor.ask("picture_source", scan=scan, image_id=image_id).first
        if row is None:
            raise Rejected("read", f"no picture {image_id} in scan {scan}")
        with Reader() as reader:
            data = reader.reread(str(row["key"]), str(row["uri"]), str(row["fingerprint"]))
        return decode(data, how)

    def _draw(self, scan: str, image_id: int, side: int) -> Drawn:
        try:
            picture = self.original(scan, image_id)
        except Rejected as error:
            return Drawn(_jpeg(_placeholder(error.reason)), "image/jpeg", there=False)
        if max(picture.size) > side:
            picture.thumbnail((side, side))
        return Drawn(_jpeg(picture), "image/jpeg", there=True)

    def _keep(self, at: tuple[str, int, bool], drawn: Drawn) -> None:
        with self._lock:
            if at not in self._kept:
                self._kept[at] = drawn
                self._bytes += len(drawn.data)
            while self._bytes > KEPT_BYTES and len(self._kept) > 1:
                _, gone = self._kept.popitem(last=False)
                self._bytes -= len(gone.data)


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
