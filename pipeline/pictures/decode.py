"""From bytes to a picture: upright RGB, or rejected with a reason.

An RGB or grey picture of 8 bits is what `preprocess(Image.open(path))` of open_clip starts from, so
their embeddings are equal, apart from EXIF orientation, which is applied here and not there. Other
modes become RGB before they are resized, as in `Image.open(path).convert("RGB")` and the loaders
that the models were trained with: palettes then resize smoothly. Only where Pillow would clip
(greys of 16 bits, 32 bits or floating point) is the range scaled to 8 bits instead. What is
transparent is laid on white, or shows the colour stored under it, as `Decoding` says.
"""

import io
import re
import warnings
import zlib
from dataclasses import dataclass, replace
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from pipeline.pictures.mended import without_ancillary, without_end
from pipeline.pictures.modes import bands, converted
from schemas.manifest import Preprocessing

# A picture of more pixels than this is rejected, not decoded.
MAX_PIXELS = 178_956_970
# A picture that takes more memory than this while it is decoded is rejected.
MAX_BYTES = 1536 << 20
# Thinner than this is rejected: with its short side at 224, the long one would take 100 MB.
MAX_ASPECT = 500
# A JPEG is scaled down while it is decoded as long as its sides keep this many times the input's.
MARGIN = 2

# Named, so that no format is tried that runs another program (EPS) or has no signature (TGA).
_WANTED = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "JPEG2000", "AVIF", "PPM")
Image.init()
FORMATS = tuple(name for name in _WANTED if name in Image.OPEN)
# What a format's decoder holds besides the picture, bytes per pixel.
_DECODERS = {"WEBP": 12, "AVIF": 12, "JPEG2000": 16, "TIFF": 4, "GIF": 5}
_PROGRESSIVE = 6

_ORIENTATION = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED = frozenset({5, 6, 7, 8})
_PILLOWS_WARNINGS = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


class Rejected(Exception):
    """A picture cannot be used.

    Attributes:
        stage: `read` or `decode`.
        reason: one line that says why.
    """

    def __init__(self, stage: str, reason: str) -> None:
        """Keep the stage, and the reason as one line."""
        self.stage = stage
        self.reason = " ".join(reason.split())[:300] or "no reason given"
        super().__init__(f"{stage}: {self.reason}")


@dataclass(frozen=True)
class Decoding:
    """What is decided before a picture is decoded; by default every pixel, as it is stored.

    Attributes:
        on_white: what is transparent is laid on white; else it shows the colour under the alpha.
        reach: a JPEG's sides may be halved, up to thrice, while they keep this many pixels; None
            for never.
    """

    on_white: bool = False
    reach: int | None = None

    @classmethod
    def of(cls, preprocessing: Preprocessing) -> "Decoding":
        """Return what a scan's record says."""
        scaled = preprocessing.decode == "scaled"
        reach = MARGIN * max(preprocessing.image_size) if scaled else None
        return cls(preprocessing.transparent == "white", reach)

    def at(self, short_side: int | None) -> "Decoding":
        """Return the same for pictures shown at another size, where that is larger."""
        if self.reach is None or short_side is None:
            return self
        return replace(self, reach=max(self.reach, MARGIN * short_side))


EXACT = Decoding()


class Decoded(NamedTuple):
    """A picture.

    Attributes:
        picture: upright RGB; smaller than it is stored where the decoding allows that.
        width: of the whole picture as displayed.
        height: likewise.
    """

    picture: Image.Image
    width: int
    height: int


class Opened:
    """A picture whose header was read.

    Attributes:
        cost: bytes that it takes while it is decoded.
    """

    def __init__(self, data: bytes, how: Decoding = EXACT) -> None:
        """Read the header.

        Raises:
            Rejected: not a picture, too large or too thin.
        """
        if not data:
            raise Rejected("decode", "the file is empty")
        _ignore_pillows_warnings()
        self._data, self._how = data, how
        try:
            self._picture = _open(data, how)
        except Exception as error:  # noqa: BLE001  Pillow's plugins raise almost anything
            if (mended := without_ancillary(data)) is None:
                raise _verdict(error) from None
            try:
                self._picture = _open(mended, how)
            except Exception as still:  # noqa: BLE001
                raise _verdict(still) from None
        self._size: tuple[int, int] = self._picture.info["as_stored"]
        self.cost = _cost(self._picture)
        if self.cost > MAX_BYTES:
            raise Rejected(
                "decode",
                f"{self._size[0]} x {self._size[1]} {self._picture.format} takes "
                f"{self.cost >> 20:,} MB to decode, the limit is {MAX_BYTES >> 20:,} MB",
            )

    def load(self) -> Decoded:
        """Decode the first frame; once, for the picture is given up to the caller.

        Damage that the format does not reveal (a JPEG whose middle was overwritten) goes unnoticed.

        Raises:
            Rejected: corrupt or truncated; nothing else.
        """
        picture = self._picture
        del self._picture
        try:
            rgb, orientation = _load(picture, self._how)
        except Rejected:
            raise
        except Exception as error:  # noqa: BLE001
            # what was decoded so far is not kept beside another try
            picture.close()
            found = self._mended(error)
            if found is None:
                raise _verdict(error) from None
            rgb, orientation = found
        method = _TRANSPOSE.get(orientation)
        width, height = self._size
        if orientation in _TURNED:
            width, height = height, width
        return Decoded(rgb if method is None else rgb.transpose(method), width, height)

    def _mended(self, error: Exception) -> tuple[Image.Image, int] | None:
        """Return the picture if only what holds no pixel is amiss; None otherwise."""
        try:
            if (mended := without_ancillary(self._data)) is not None:
                return _load(_open(mended, self._how), self._how)
            if isinstance(error, OSError) and (ends := without_end(self._data)) is not None:
                # whatever follows the last pixel changes none, if all of them are there
                prints = [_print(_load(_open(data, self._how), self._how)[0]) for data in ends]
                return (
                    _load(_open(ends[0], self._how), self._how) if len(set(prints)) == 1 else None
                )
        except Exception:  # noqa: BLE001  the first verdict stands
            return None
        return None


def decode(data: bytes, how: Decoding = EXACT) -> Image.Image:
    """Decode the first frame of a picture as upright RGB.

    Raises:
        Rejected: not a picture, corrupt, truncated, too large or too thin; nothing else.
    """
    return Opened(data, how).load().picture


def _open(data: bytes, how: Decoding) -> Image.Image:
    opened = Image.open(io.BytesIO(data), formats=FORMATS)
    _check_size(*opened.size)
    opened.info["as_stored"] = opened.size
    if how.reach is not None and opened.format in ("JPEG", "MPO"):
        opened.draft(None, (how.reach, how.reach))
    return opened


def _load(opened: Image.Image, how: Decoding) -> tuple[Image.Image, int]:
    opened.load()
    orientation = _orientation(opened)
    return converted(opened, on_white=how.on_white), orientation


def _print(picture: Image.Image) -> int:
    """Return a checksum of all pixels."""
    found = 0
    for _, band in bands(picture):
        found = zlib.crc32(band.tobytes(), found)
    return found


def _verdict(error: Exception) -> Rejected:
    if isinstance(error, Rejected):
        return error
    if isinstance(error, UnidentifiedImageError):
        return Rejected("decode", f"not a picture in a known format ({', '.join(FORMATS)})")
    if isinstance(error, Image.DecompressionBombError):
        return Rejected("decode", f"more than {MAX_PIXELS:,} pixels")
    if isinstance(error, MemoryError):
        return Rejected("decode", "it does not fit in memory")
    if isinstance(error, OSError):
        return Rejected("decode", str(error))
    return Rejected("decode", f"{type(error).__name__}: {error}")


def _cost(picture: Image.Image) -> int:
    """Return the bytes that a picture takes while it is decoded and made RGB, at most."""
    mode = picture.mode
    stored = 1 if mode in ("1", "L", "P") else 2 if mode.startswith("I;16") else 4
    # greys of many bits pass through 8 bits; a picture that is RGB already is not copied
    made = 0 if mode == "RGB" else 4
    decoder = _DECODERS.get(picture.format or "", 0)
    if picture.info.get("progressive") or picture.info.get("progression"):
        decoder = _PROGRESSIVE
    return picture.width * picture.height * (stored + made + decoder)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise Rejected("decode", f"{width} x {height}, more than {MAX_PIXELS:,} pixels")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise Rejected("decode", f"{width} x {height} is thinner than 1 to {MAX_ASPECT}")


def _orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation; 1, upright, when the EXIF cannot be read."""
    try:
        value = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001  a broken EXIF block leaves a good picture
        return 1
    return value if isinstance(value, int) else 1


def _ignore_pillows_warnings() -> None:
    """Silence warnings from Pillow's modules: what they warn of is decided here.

    `warnings.catch_warnings` is not safe among threads, so the filter is put in and left in.
    """
    if _PILLOWS_WARNINGS not in warnings.filters:
        warnings.filterwarnings("ignore", module=r"PIL\.")
