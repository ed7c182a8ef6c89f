"""What decides the pixels: scaling while decoding, white under alpha, files that are mended."""

import io
import struct
import threading
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from pipeline.pictures import decode as module
from pipeline.pictures.budget import Budget
from pipeline.pictures.decode import Decoding, Opened, Rejected, decode
from tests.hostile import encoded, hostile_files, oriented, scene

WHITE = Decoding(on_white=True)
HOSTILE = hostile_files()


def literal_on_white(data: bytes) -> np.ndarray:
    """Return alpha composition over white, in floating point."""
    with Image.open(io.BytesIO(data)) as opened:
        rgba = np.asarray(opened.convert("RGBA"), np.float64)
    alpha = rgba[..., 3:] / 255
    return rgba[..., :3] * alpha + 255 * (1 - alpha)


def grey_with_key() -> bytes:
    return encoded(scene().convert("L"), "PNG", transparency=100)


def rgb_with_key() -> bytes:
    picture = scene()
    return encoded(picture, "PNG", transparency=picture.getpixel((3, 3)))


CLEAR = {
    name: HOSTILE[name][0]
    for name in ("alpha.png", "grey-alpha.png", "alpha.webp", "palette-clear.png")
} | {"grey-key.png": grey_with_key(), "rgb-key.png": rgb_with_key()}


@pytest.mark.parametrize("name", sorted(CLEAR))
def test_what_is_transparent_is_laid_on_white(name, monkeypatch):
    monkeypatch.setattr("pipeline.pictures.modes._BAND", 1000)
    seen = np.asarray(decode(CLEAR[name], WHITE), np.float64)
    assert np.abs(seen - literal_on_white(CLEAR[name])).max() <= 1
    assert not np.array_equal(seen, np.asarray(decode(CLEAR[name])))


@pytest.mark.parametrize("name", sorted(set(HOSTILE) - set(CLEAR)))
def test_opaque_pictures_do_not_depend_on_it(name):
    data, fate = HOSTILE[name]
    if fate == "stored" and name != "animated.gif":
        assert np.array_equal(np.asarray(decode(data, WHITE)), np.asarray(decode(data)))


@pytest.mark.parametrize("side", [256, 500, 1024])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_is_halved_while_both_sides_reach_far_enough(side, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(scene(2400, 1601), "JPEG", exif=exif)
    opened = Opened(data, Decoding(reach=side))
    found = opened.load()
    whole = (1601, 2400) if orientation == 6 else (2400, 1601)
    assert (found.width, found.height) == whole
    short = min(found.picture.size)
    assert short >= side
    assert short == -(-1601 // max(n for n in (1, 2, 4, 8) if 1601 // n >= side))
    assert opened.cost < Opened(data).cost or side == 1024
    small = decode(data).resize(found.picture.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(small, float) - np.asarray(found.picture, float)).mean() < 2


@pytest.mark.parametrize("name", ["grey.jpg", "cmyk.jpg", "rotated.png", "plain.bmp", "alpha.webp"])
def test_small_pictures_and_other_formats_are_decoded_whole(name):
    scaled = decode(HOSTILE[name][0], Decoding(reach=40))
    assert np.array_equal(np.asarray(scaled), np.asarray(decode(HOSTILE[name][0])))


def png_with(name: bytes, body: bytes, where: str = "before") -> bytes:
    data = encoded(scene(), "PNG")
    chunk = struct.pack(">I", len(body)) + name + body
    chunk += struct.pack(">I", zlib.crc32(name + body))
    at = 33 if where == "before" else len(data) - 12
    return data[:at] + chunk + data[at:]


TEXT = b"Comment\0\0" + zlib.compress(bytes(5 << 20))
PROFILE = b"icc\0\0" + zlib.compress(bytes(70 << 20))


@pytest.mark.parametrize(
    "data",
    [
        png_with(b"zTXt", TEXT),
        png_with(b"zTXt", TEXT, "after"),
        png_with(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(5 << 20))),
        png_with(b"tEXt", b"Comment\0" + b"x" * (3 << 20)),
        png_with(b"iCCP", PROFILE),
        png_with(b"iCCP", b"icc\0\0not compressed at all"),
        png_with(b"tEXt", b"Comment\0x")[:-20] + encoded(scene(), "PNG")[-20:],
    ],
)
def test_a_png_is_stored_whatever_its_profile_and_texts(data):
    assert np.array_equal(np.asarray(decode(data)), np.asarray(scene()))


def test_a_common_profile_changes_no_pixel():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(scene(), "PNG", icc_profile=profile)
    assert np.array_equal(np.asarray(decode(data)), np.asarray(scene()))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", [(64, 48), (333, 217), (1200, 900)])
def test_a_jpeg_without_its_end_is_stored_and_one_without_pixels_is_not(progressive, size):
    data = encoded(scene(*size), "JPEG", progressive=progressive, quality=92)
    whole = np.asarray(decode(data))
    for lost in (1, 2):
        assert np.array_equal(np.asarray(decode(data[:-lost])), whole)
    assert np.array_equal(
        np.asarray(decode(data[:-2], Decoding(reach=30))),
        np.asarray(decode(data, Decoding(reach=30))),
    )
    for lost in (8, 20, 50, len(data) // 2):
        with pytest.raises(Rejected, match="truncated"):
            decode(data[:-lost])


def test_a_picture_above_the_limit_says_so(monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 10 << 20)
    data = encoded(Image.new("RGB", (2000, 2000)), "PNG")
    with pytest.raises(Rejected, match=r"2000 x 2000 PNG takes 15 MB .*, the limit is 10 MB"):
        decode(data)
    assert decode(encoded(Image.new("L", (1000, 1000)), "PNG")).size == (1000, 1000)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 150), min_size=1, max_size=12))
def test_what_is_in_flight_stays_within_the_budget(costs):
    budget, seen, together = Budget(100), [], threading.Lock()

    def work(cost: int) -> None:
        with budget.held(cost):
            with together:
                seen.append((budget.in_flight, cost))

    threads = [threading.Thread(target=work, args=(cost,)) for cost in costs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert len(seen) == len(costs)
    assert all(flying <= max(100, cost) for flying, cost in seen)
    assert budget.in_flight == 0


def test_an_error_gives_its_bytes_back():
    budget = Budget(10)
    with pytest.raises(RuntimeError), budget.held(10):
        raise RuntimeError
    with budget.held(10):
        assert budget.in_flight == 10


def test_a_turned_png_has_the_displayed_size():
    found = Opened(oriented(scene(64, 48), 6)).load()
    assert (found.width, found.height) == found.picture.size == (48, 64)
