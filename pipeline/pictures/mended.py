"""Files whose pixels are whole though something else in them is amiss."""

import struct

PNG = b"\x89PNG\r\n\x1a\n"
# Chunks that hold no pixel: profiles and texts, which Pillow refuses above a size.
_ANCILLARY = frozenset({b"iCCP", b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME", b"pHYs", b"sRGB"})
_JPEG, _END = b"\xff\xd8", b"\xff\xd9"
_HEAD = struct.Struct(">I4s")


def without_ancillary(data: bytes) -> bytes | None:
    """Return a PNG without its profiles, texts and EXIF; None if it has none, or is no PNG."""
    if not data.startswith(PNG):
        return None
    kept, at, dropped = [data[: len(PNG)]], len(PNG), False
    while at + _HEAD.size <= len(data):
        length, name = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + length + 4
        if name in _ANCILLARY:
            dropped = True
        else:
            kept.append(data[at:end])
        at = end
    return b"".join(kept) if dropped else None


def without_end(data: bytes) -> tuple[bytes, bytes] | None:
    """Return a JPEG that lacks its end, ended in two ways; None if it has one, or is no JPEG.

    The second has bytes before its end that a decoder would take for pixels, if any were missing.
    """
    if not data.startswith(_JPEG) or data.endswith(_END):
        return None
    body = data.rstrip(b"\xff")
    return body + _END, body + bytes([0x5A, 0xA5, 0x33, 0xCC]) * 64 + _END
