"""Hostile pictures: each must be stored, or rejected with a reason; none may stop a run."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

STORED, DECODE, READ = "stored", "decode", "read"


def scene(width: int = 64, height: int = 48, seed: int = 0) -> Image.Image:
    """Return a smooth RGB picture that is not symmetric."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    """Return a picture as a file of a format."""
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def oriented(picture: Image.Image, orientation: int) -> bytes:
    """Return a picture as PNG with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(picture, "PNG", exif=exif)


def png(width: int, height: int, *chunks: tuple[bytes, bytes], depth: int = 8) -> bytes:
    """Return a greyscale PNG made by hand, with a header that need not be true."""
    head = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, body in ((b"IHDR", head), *chunks, (b"IEND", b"")):
        parts += [struct.pack(">I", len(body)), name, body]
        parts.append(struct.pack(">I", zlib.crc32(name + body)))
    return b"".join(parts)


def hostile_files() -> dict[str, tuple[bytes, str]]:
    """Return by file name the bytes, and what must become of them: stored or a reject's stage."""
    rgb = scene()
    jpeg, whole_png = encoded(rgb, "JPEG"), encoded(rgb, "PNG")
    alpha = rgb.convert("RGBA")
    alpha.putalpha(Image.linear_gradient("L").resize(rgb.size))
    frames = [scene(seed=i).convert("P") for i in range(3)]
    rgb_frames = [scene(seed=i) for i in range(3)]
    grey = np.linspace(0, 65535, 64 * 48).reshape(48, 64)
    broken_exif = encoded(rgb, "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff\x01\x12")
    flipped = bytearray(whole_png)
    flipped[len(flipped) // 2] ^= 0xFF
    many = zlib.compress(bytes(30_001 * 10))
    return {
        "corrupt-header.jpg": (b"\xff\xd8\xff\xe0" + bytes(range(200)), DECODE),
        "corrupt-middle.png": (bytes(flipped), DECODE),
        "truncated.jpg": (jpeg[:-200], DECODE),
        "beheaded.jpg": (jpeg[: len(jpeg) // 3], DECODE),
        "truncated.png": (whole_png[: len(whole_png) // 2], DECODE),
        "truncated.webp": (encoded(rgb, "WEBP")[:100], DECODE),
        "truncated.gif": (encoded(frames[0], "GIF")[:900], DECODE),
        "truncated.bmp": (encoded(rgb, "BMP")[:2000], DECODE),
        "truncated.tif": (encoded(rgb, "TIFF")[:2000], DECODE),
        "zero.jpg": (b"", DECODE),
        "text.jpg": (b"this is no picture\n" * 20, DECODE),
        "page.png": (b"<html><body>404 Not Found</body></html>", DECODE),
        "script.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", DECODE),
        "bomb.png": (png(30_000, 30_000, (b"IDAT", many)), DECODE),
        "large.png": (png(13_000, 13_000, (b"IDAT", zlib.compress(bytes(100)))), DECODE),
        "thin.png": (encoded(Image.new("RGB", (1, 5000)), "PNG"), DECODE),
        "nan.tif": (encoded(Image.fromarray(np.full((9, 9), np.nan, np.float32)), "TIFF"), DECODE),
        "one-pixel.png": (encoded(Image.new("RGB", (1, 1), "red"), "PNG"), STORED),
        "strip.png": (encoded(Image.new("RGB", (3, 900), "red"), "PNG"), STORED),
        "cmyk.jpg": (encoded(rgb.convert("CMYK"), "JPEG"), STORED),
        "grey.jpg": (encoded(rgb.convert("L"), "JPEG"), STORED),
        "progressive.jpg": (encoded(rgb, "JPEG", progressive=True), STORED),
        "grey16.png": (encoded(Image.fromarray(grey.astype(np.uint16)), "PNG"), STORED),
        "grey16.tif": (encoded(Image.fromarray(grey.astype(np.uint16)), "TIFF"), STORED),
        "grey32.tif": (encoded(Image.fromarray((grey * 9).astype(np.int32)), "TIFF"), STORED),
        "float.tif": (encoded(Image.fromarray((grey / 65535).astype(np.float32)), "TIFF"), STORED),
        "palette.png": (encoded(rgb.convert("P"), "PNG"), STORED),
        "palette-clear.png": (encoded(rgb.convert("P"), "PNG", transparency=bytes(99)), STORED),
        "bilevel.png": (encoded(rgb.convert("1"), "PNG"), STORED),
        "alpha.png": (encoded(alpha, "PNG"), STORED),
        "grey-alpha.png": (encoded(alpha.convert("LA"), "PNG"), STORED),
        "alpha.webp": (encoded(alpha, "WEBP"), STORED),
        "animated.gif": (
            encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
            STORED,
        ),
        "animated.png": (
            encoded(rgb, "PNG", save_all=True, append_images=rgb_frames[1:]),
            STORED,
        ),
        "animated.webp": (
            encoded(rgb, "WEBP", save_all=True, append_images=rgb_frames[1:]),
            STORED,
        ),
        "stereo.jpg": (encoded(rgb, "MPO", save_all=True, append_images=rgb_frames[1:]), STORED),
        "rotated.png": (oriented(rgb, 6), STORED),
        "broken-exif.jpg": (broken_exif, STORED),
        "wrong-suffix.gif": (jpeg, STORED),
        "UPPER.JPG": (jpeg, STORED),
        "plain.bmp": (encoded(rgb, "BMP"), STORED),
        "sp ace 'quoted\" ünï 猫.jpg": (jpeg, STORED),
    }


def hostile_pictures(directory: Path) -> dict[str, str]:
    """Write hostile pictures below a folder; return by key `stored` or the reject's stage."""
    directory.mkdir(parents=True, exist_ok=True)
    expected = {}
    for name, (data, fate) in hostile_files().items():
        (directory / name).write_bytes(data)
        expected[name] = fate
    (directory / "nowhere.jpg").symlink_to("gone.jpg")
    expected["nowhere.jpg"] = READ
    return expected
