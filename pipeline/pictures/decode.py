"""From bytes to a picture: upright RGB, or rejected with a reason.

An RGB or grey picture of 8 bits is what `preprocess(Image.open(path))` of open_clip starts from, so
their embeddings are equal, apart from EXIF orientation, which is applied here and not there. Other
modes become RGB before they are resized, as in `Image.open(path).convert("RGB")` and the loaders
that the models were trained with: palettes then resize smoothly, and alpha is dropped, so that a
transparent pixel shows the colour stored under it. Only where Pillow would clip (greys of 16 bits,
32 bits or floating point) is the range scaled to 8 bits instead.
"""

import io
import re
import warnings

import numpy as np
from jaxtyping import Num, UInt8
from PIL import Image, UnidentifiedImageError

# A picture of more pixels than this is rejected, not decoded: 716 MB in Pillow's memory.
MAX_PIXELS = 178_956_970
# Thinner than this is rejected: with its short side at 224, the long one would take 100 MB.
MAX_ASPECT = 500
_16_BITS = 2**16

# Named, so that no format is tried that runs another program (EPS) or has no signature (TGA).
_WANTED = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "JPEG2000", "AVIF", "PPM")
Image.init()
FORMATS = tuple(name for name in _WANTED if name in Image.OPEN)

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


def decode(data: bytes) -> Image.Image:
    """Decode the first frame of a picture as upright RGB.

    Damage that the format does not reveal (a JPEG whose middle was overwritten) goes unnoticed.

    Raises:
        Rejected: not a picture, corrupt, truncated, too large or too thin; nothing else.
    """
    if not data:
        raise Rejected("decode", "the file is empty")
    _ignore_pillows_warnings()
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            _check_size(*opened.size)
            opened.load()
            orientation = _orientation(opened)
            rgb = _rgb(opened)
    except UnidentifiedImageError:
        known = ", ".join(FORMATS)
        raise Rejected("decode", f"not a picture in a known format ({known})") from None
    except Image.DecompressionBombError:
        raise Rejected("decode", f"more than {MAX_PIXELS:,} pixels") from None
    except MemoryError:
        raise Rejected("decode", "it does not fit in memory") from None
    except Rejected:
        raise
    except OSError as error:
        raise Rejected("decode", str(error)) from None
    except Exception as error:  # noqa: BLE001  Pillow's plugins raise almost anything
        raise Rejected("decode", f"{type(error).__name__}: {error}") from None
    method = _TRANSPOSE.get(orientation)
    return rgb if method is None else rgb.transpose(method)


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


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB":
        # a picture of its own, free of the file that is about to be closed
        return picture.copy()
    if picture.mode == "F" or picture.mode.startswith("I"):
        return Image.fromarray(_eight_bits(np.asarray(picture))).convert("RGB")
    return picture.convert("RGB")


def _eight_bits(grey: Num[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    """Scale greys to 8 bits: by 16 bits' range, a float's 0..1 or 0..255, else their own range.

    Raises:
        Rejected: a value is not finite.
    """
    low, high = float(grey.min()), float(grey.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise Rejected("decode", "a grey value is not finite")
    if grey.dtype.kind in "iu" and low >= 0 and high < _16_BITS:
        table = np.round(np.arange(_16_BITS) / 257).astype(np.uint8)
        return table[grey]
    if grey.dtype.kind == "f" and low >= 0 and high <= 255:
        low, high = 0.0, 1.0 if high <= 1 else 255.0
    scale = 255.0 / (high - low) if high > low else 0.0
    return np.round((grey.astype(np.float64) - low) * scale).astype(np.uint8)


def _ignore_pillows_warnings() -> None:
    """Silence warnings from Pillow's modules: what they warn of is decided here.

    `warnings.catch_warnings` is not safe among threads, so the filter is put in and left in.
    """
    if _PILLOWS_WARNINGS not in warnings.filters:
        warnings.filterwarnings("ignore", module=r"PIL\.")
