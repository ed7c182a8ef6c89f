"""Every mode of Pillow as RGB, in bands of rows, so that no more than two copies are held."""

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Num, UInt8
from PIL import Image

_16_BITS = 2**16
_BAND = 1 << 20


def converted(picture: Image.Image, *, on_white: bool) -> Image.Image:
    """Return a loaded picture as RGB; its own pixels are given up where they are not.

    Raises:
        ValueError: a grey value is not finite.
    """
    if on_white and picture.has_transparency_data:
        return _on_white(picture)
    if picture.mode == "RGB":
        return picture
    if picture.mode == "F" or picture.mode.startswith("I"):
        grey = _eight_bits(picture)
        picture.close()
        return grey.convert("RGB")
    return picture.convert("RGB")


def bands(picture: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield the picture in bands of about a million pixels, each with its first row."""
    rows = max(1, _BAND // max(1, picture.width))
    for top in range(0, picture.height, rows):
        yield top, picture.crop((0, top, picture.width, min(top + rows, picture.height)))


def _on_white(picture: Image.Image) -> Image.Image:
    white = Image.new("RGB", picture.size, "white")
    transparency = picture.info.get("transparency")
    for top, band in bands(picture):
        if transparency is not None:
            band.info["transparency"] = transparency
        rgba = band.convert("RGBA")
        white.paste(rgba, (0, top), rgba)
    return white


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Scale greys to 8 bits: by 16 bits' range, a float's 0..1 or 0..255, else their own range.

    Raises:
        ValueError: a value is not finite.
    """
    low, high, kind = math.inf, -math.inf, "i"
    for _, band in bands(picture):
        values = np.asarray(band)
        kind = values.dtype.kind
        if not np.isfinite(values).all():
            raise ValueError("a grey value is not finite")
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    grey = Image.new("L", picture.size)
    for top, band in bands(picture):
        grey.paste(Image.fromarray(_scaled(np.asarray(band), low, high, kind)), (0, top))
    return grey


def _scaled(
    grey: Num[np.ndarray, "height width"], low: float, high: float, kind: str
) -> UInt8[np.ndarray, "height width"]:
    if kind in "iu" and low >= 0 and high < _16_BITS:
        table = np.round(np.arange(_16_BITS) / 257).astype(np.uint8)
        return table[grey]
    if kind == "f" and low >= 0 and high <= 255:
        low, high = 0.0, 1.0 if high <= 1 else 255.0
    scale = 255.0 / (high - low) if high > low else 0.0
    return np.round((grey.astype(np.float64) - low) * scale).astype(np.uint8)
