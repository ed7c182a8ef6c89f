"""Decoding: accepted pictures equal what open_clip starts from; others are rejected."""

import io
import threading
import warnings
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from hostile import STORED, encoded, hostile_files, oriented, scene
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pipeline.pictures.decode import Rejected, decode

HOSTILE = hostile_files()


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_each_hostile_picture_is_rgb_or_rejected_with_a_reason(name):
    data, expected = HOSTILE[name]
    if expected == STORED:
        picture = decode(data)
        assert picture.mode == "RGB"
        assert np.asarray(picture).shape == (picture.height, picture.width, 3)
        return
    with pytest.raises(Rejected) as caught:
        decode(data)
    assert caught.value.stage == expected
    assert caught.value.reason and "\n" not in caught.value.reason
    assert "0x" not in caught.value.reason, "a reason must not change from run to run"


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_equals_open_clips_own_preprocessing(tmp_path: Path, mode, kind):
    path = tmp_path / "picture"
    path.write_bytes(encoded(scene(300, 260).convert(mode), kind))
    preprocess = open_clip.image_transform(224, is_train=False)
    with Image.open(path) as opened:
        own = preprocess(opened)
    assert torch.equal(preprocess(decode(path.read_bytes())), own)


@pytest.mark.parametrize("name", ["cmyk.jpg", "palette.png", "palette-clear.png", "alpha.png"])
def test_other_modes_equal_convert_rgb(name):
    data = HOSTILE[name][0]
    with Image.open(io.BytesIO(data)) as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        literal = np.asarray(opened.convert("RGB"))
    assert np.array_equal(np.asarray(decode(data)), literal)


def test_inverted_cmyk_of_adobe_keeps_its_colours():
    picture = Image.new("RGB", (16, 16), (200, 30, 60))
    seen = np.asarray(decode(encoded(picture.convert("CMYK"), "JPEG", quality=100)))
    assert np.abs(seen.astype(int) - (200, 30, 60)).max() <= 6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_orientation_is_undone(orientation, kind):
    a = np.asarray(scene(40, 24))
    upright = {
        1: a,
        2: a[:, ::-1],
        3: a[::-1, ::-1],
        4: a[::-1],
        5: a.transpose(1, 0, 2),
        6: np.rot90(a, -1),
        7: np.rot90(a, 2).transpose(1, 0, 2),
        8: np.rot90(a, 1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(scene(40, 24), kind, exif=exif, **options)
    assert np.array_equal(np.asarray(decode(data)), upright)
    with Image.open(io.BytesIO(data)) as opened:
        assert np.array_equal(np.asarray(decode(data)), ImageOps.exif_transpose(opened))


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_means_nothing_is_ignored(orientation):
    assert np.array_equal(np.asarray(decode(oriented(scene(), orientation))), scene())


@pytest.mark.parametrize("name", ["animated.gif", "animated.png", "animated.webp", "stereo.jpg"])
def test_the_first_frame_is_taken(name):
    with Image.open(io.BytesIO(HOSTILE[name][0])) as opened:
        assert opened.n_frames == 3
        opened.seek(0)
        first = np.asarray(opened.convert("RGB"))
    assert np.array_equal(np.asarray(decode(HOSTILE[name][0])), first)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled_not_clipped(kind):
    values = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    seen = np.asarray(decode(encoded(Image.fromarray(values), kind)))
    assert np.array_equal(seen[..., 0], np.round(values / 257).astype(np.uint8))
    assert np.array_equal(seen[..., 0], seen[..., 2])


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 255), (-3, 5), (0, 1e9)])
def test_floating_point_grey_keeps_its_range(low, high):
    values = np.linspace(low, high, 30 * 20).reshape(20, 30).astype(np.float32)
    seen = np.asarray(decode(encoded(Image.fromarray(values), "TIFF")))[..., 0]
    scaled = (values.astype(float) - low) / (high - low) * 255
    assert np.abs(seen - scaled).max() <= 0.5 + 1e-4


def test_a_constant_picture_of_any_depth_is_stored():
    for values in (np.full((5, 5), 70_000, np.int32), np.full((5, 5), -2.0, np.float32)):
        assert np.ptp(np.asarray(decode(encoded(Image.fromarray(values), "TIFF")))) == 0


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(sorted(HOSTILE)), st.data())
def test_damage_anywhere_raises_nothing_but_rejected(name, draws):
    data = bytearray(HOSTILE[name][0][:4000])
    for _ in range(draws.draw(st.integers(0, 4)) if data else 0):
        data[draws.draw(st.integers(0, len(data) - 1))] = draws.draw(st.integers(0, 255))
    cut = draws.draw(st.integers(0, len(data)))
    try:
        assert decode(bytes(data[:cut])).mode == "RGB"
    except Rejected as verdict:
        assert verdict.stage == "decode"


def test_threads_leave_the_warning_filters_usable():
    before = len(warnings.filters)
    many = [HOSTILE[name][0] for name in ("palette-clear.png", "broken-exif.jpg", "rotated.png")]
    threads = [threading.Thread(target=lambda: [decode(d) for d in many]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(warnings.filters) <= before + 1
    with pytest.warns(UserWarning, match="still heard"):
        warnings.warn("still heard", UserWarning, stacklevel=1)
