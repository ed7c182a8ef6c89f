"""Masks as people save them: lossy, with alpha, coloured, 16 bits; and annotations gone wrong."""

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as run_lengths

from pipeline.masks.base import read_foreground, read_indices, read_picture
from pipeline.masks.coco import instance_mask
from pipeline.masks.registry import open_data
from schemas.errors import SourceError

DISC = np.hypot(*np.mgrid[-16:16, -16:16]) < 9


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "options"),
    [("m.jpg", {"quality": 75}), ("m.webp", {"quality": 80}), ("m.tif", {"compression": "jpeg"})],
)
def test_lossy_masks_are_refused_by_name(
    tmp_path: Path, name: str, options: dict[str, object]
) -> None:
    path = saved(tmp_path / name, Image.fromarray((DISC * 255).astype(np.uint8)), **options)
    for read in (read_foreground, read_indices):
        with pytest.raises(SourceError, match=rf"{name} is a lossy .*save masks as PNG"):
            read(path)


def test_a_jpeg_named_png_is_one_reject(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for key in ("a", "b"):
        Image.new("RGB", (32, 32)).save(tmp_path / "images" / f"{key}.png")
        Image.fromarray(DISC).save(tmp_path / "masks" / f"{key}.png")
    Image.new("L", (32, 32)).save(tmp_path / "masks" / "a.png", format="JPEG")
    data = open_data(tmp_path, classes=("disc",))
    with pytest.raises(SourceError, match="lossy JPEG"):
        data.read(0)
    np.testing.assert_array_equal(data.read(1).mask, DISC)


@pytest.mark.parametrize("name", ["m.webp", "m.tif", "m.gif", "m.bmp", "m.png"])
def test_lossless_masks_are_what_was_drawn(tmp_path: Path, name: str) -> None:
    options = {"lossless": True} if name.endswith("webp") else {}
    path = saved(tmp_path / name, Image.fromarray((DISC * 255).astype(np.uint8)), **options)
    np.testing.assert_array_equal(read_foreground(path), DISC)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.5, "not whole"),
        (np.nan, "not whole"),
        (np.inf, "not whole"),
        (-2, "-2"),
        (1e30, "holds 1000"),
    ],
)
def test_numbers_that_are_no_class_are_refused(tmp_path: Path, value: float, words: str) -> None:
    path = saved(tmp_path / "m.tif", Image.fromarray(np.where(DISC, value, 0).astype(np.float32)))
    for read in (read_foreground, read_indices):
        with pytest.raises(SourceError, match=words):
            read(path)
    path = saved(tmp_path / "m.tif", Image.fromarray(np.where(DISC, 7, 0).astype(np.float32)))
    np.testing.assert_array_equal(read_indices(path), DISC * 7)


def test_a_mask_that_is_damaged_anywhere_raises_nothing_but_a_source_error(tmp_path: Path) -> None:
    """Pillow raises SyntaxError, ValueError and errors of its own, which ended a whole run."""
    rng = np.random.default_rng(0)
    palette = Image.fromarray((DISC * 3).astype(np.uint8)).convert("P")
    wide = Image.fromarray((DISC * 300).astype(np.uint16))
    bases = [
        saved(tmp_path / f"{i}.png", one).read_bytes() for i, one in enumerate((palette, wide))
    ]
    path, raised = tmp_path / "m.png", set()
    for _ in range(400):
        data = bytearray(bases[int(rng.integers(len(bases)))])
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(len(data)))
            data[at : at + 4] = rng.integers(0, 256, 4, np.uint8).tobytes()
        path.write_bytes(bytes(data))
        for read in (read_foreground, read_indices):
            try:
                read(path)
            except SourceError as error:
                raised.add(str(error).partition(": ")[2][:20])
    assert len(raised) > 3
    lies = bytearray(bases[0])
    struct.pack_into(">II", lies, 16, 30_000, 30_000)
    struct.pack_into(">I", lies, 29, zlib.crc32(lies[12:29]))
    path.write_bytes(bytes(lies))
    with pytest.raises(SourceError, match="exceeds limit"):
        read_foreground(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_is_turned_as_a_picture_of_the_same_file_is(
    tmp_path: Path, orientation: int
) -> None:
    drawn = np.zeros((20, 32), np.uint8)
    drawn[2:6, 3:20] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "m.png", Image.fromarray(drawn), exif=exif)
    seen = np.asarray(read_picture(path).picture)[..., 0] > 0
    np.testing.assert_array_equal(read_foreground(path), seen)
    np.testing.assert_array_equal(read_indices(path) > 0, seen)


@pytest.mark.parametrize("colour", [0, 255, 120])
def test_alpha_is_the_mask_where_one_colour_lies_on_nothing(tmp_path: Path, colour: int) -> None:
    alpha = Image.fromarray((DISC * 255).astype(np.uint8))
    plain = Image.new("RGB", (32, 32), (colour,) * 3)
    plain.putalpha(alpha)
    np.testing.assert_array_equal(read_foreground(saved(tmp_path / "a.png", plain)), DISC)
    # edges drawn soft: at least half opaque
    soft = np.clip(12 - np.hypot(*np.mgrid[-16:16, -16:16]), 0, 1) * 255
    plain.putalpha(Image.fromarray(soft.astype(np.uint8)))
    found = read_foreground(saved(tmp_path / "b.png", plain))
    np.testing.assert_array_equal(found, soft.astype(int) * 2 > 255)


def test_alpha_that_says_something_else_than_the_colours_is_refused(tmp_path: Path) -> None:
    image = Image.fromarray((DISC * 255).astype(np.uint8)).convert("RGB")
    image.putalpha(255)
    np.testing.assert_array_equal(read_foreground(saved(tmp_path / "whole.png", image)), DISC)
    image.putalpha(Image.fromarray((DISC * 255).astype(np.uint8)))
    np.testing.assert_array_equal(read_foreground(saved(tmp_path / "same.png", image)), DISC)
    image.putalpha(Image.fromarray((~DISC * 255).astype(np.uint8)))
    with pytest.raises(SourceError, match="do not say the same"):
        read_foreground(saved(tmp_path / "other.png", image))


def test_classes_are_indices_whatever_the_file_holds_them_in(tmp_path: Path) -> None:
    values = (DISC * 3).astype(np.uint8)
    palette = Image.fromarray(values).convert("P")
    palette.putdata(values.ravel().tolist())
    palette.putpalette([200, 10, 10] * 256)
    grey = Image.fromarray(values)
    clear = grey.convert("RGB")
    clear.putalpha(Image.fromarray((DISC * 255).astype(np.uint8)))
    images = [palette, grey, grey.convert("RGB"), clear, Image.fromarray(values.astype(np.uint16))]
    for number, image in enumerate(images):
        found = read_indices(saved(tmp_path / f"{number}.png", image))
        np.testing.assert_array_equal(found, values)
    assert read_indices(saved(tmp_path / "bits.png", Image.fromarray(DISC))).max() == 1
    wide = Image.fromarray((DISC * 300).astype(np.uint16))
    assert read_indices(saved(tmp_path / "wide.png", wide)).max() == 300
    red = Image.new("RGB", (8, 8), (3, 0, 0))
    with pytest.raises(SourceError, match="coloured; expected a palette's indices"):
        read_indices(saved(tmp_path / "red.png", red))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_run_lengths_are_those_of_pycocotools_in_either_form(data: st.DataObject) -> None:
    height, width = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    mask = np.array(bits).reshape(height, width)
    packed = run_lengths.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    flat = mask.T.ravel()
    edges = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), flat.size]
    runs = ([0] if flat[0] else []) + np.diff(edges).tolist()
    for counts in (packed, runs):
        found = instance_mask({"counts": counts, "size": [height, width]}, height, width)
        np.testing.assert_array_equal(found, mask)
        with pytest.raises(ValueError, match="run lengths"):
            instance_mask({"counts": counts}, height, width + 1)


@pytest.fixture
def coco(tmp_path: Path) -> tuple[Path, dict]:
    """Return a folder and its instances, with ids of every kind."""
    ids = [7, "0b7e-uuid", "7"]
    (tmp_path / "val2017").mkdir()
    for i in range(3):
        Image.new("RGB", (20, 10)).save(tmp_path / "val2017" / f"{i}.png")
    box = [[2, 2, 8, 2, 8, 8, 2, 8]]
    held = {
        "images": [{"id": one, "file_name": f"{i}.png"} for i, one in enumerate(ids)],
        "categories": [{"id": "c", "name": "cat"}, {"id": 3, "name": "dog"}],
        "annotations": [
            {"id": i, "image_id": one, "category_id": "c", "area": 36, "segmentation": box}
            for i, one in enumerate(ids)
        ],
    }
    (tmp_path / "annotations").mkdir()
    return tmp_path, held


def written(root: Path, held: dict) -> Path:
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(held))
    return root


def test_ids_are_opaque(coco: tuple[Path, dict]) -> None:
    data = open_data(written(*coco))
    # numbers before text
    assert data.classes == ("dog", "cat")
    for i in range(3):
        assert data.read(i).present == {2}
        assert int((data.read(i).mask == 2).sum()) == 36


def test_a_null_area_is_counted_and_other_bad_annotations_are_one_reject_each(
    coco: tuple[Path, dict],
) -> None:
    root, held = coco
    small = {"image_id": 7, "category_id": 3, "area": None}
    held["annotations"].append({**small, "segmentation": [[3, 3, 6, 3, 6, 6, 3, 6]]})
    held["annotations"].append(None)
    assert int((open_data(written(root, held)).read(0).mask == 1).sum()) == 9
    box = held["annotations"][0]["segmentation"]
    for bad, said in (
        ({"segmentation": box}, "category None is not in"),
        ({"category_id": 99, "segmentation": box}, "category 99 is not in"),
        ({"category_id": 3}, "no segmentation"),
        ({"category_id": 3, "segmentation": [[1, 2, 3]]}, "three corners"),
        ({"category_id": 3, "segmentation": [["a"] * 6]}, "finite numbers"),
        # drawing these ends the process, or takes all memory
        ({"category_id": 3, "segmentation": [[0, 0, 1e9, 0, 1e9, 1e9]]}, "finite numbers"),
        ({"category_id": 3, "segmentation": [[-1e300, 0, 5, 5, 5, 0]]}, "finite numbers"),
        ({"category_id": 3, "segmentation": [[0, 0, float("nan"), 0, 5, 5]]}, "finite numbers"),
        ({"category_id": 3, "segmentation": "text"}, "expected polygons"),
        ({"category_id": 3, "segmentation": {"counts": "zz"}}, "run lengths"),
        ({"category_id": 3, "segmentation": {"counts": None}}, "run lengths"),
    ):
        held["annotations"][1] = {"image_id": "0b7e-uuid", "id": 1, **bad}
        data = open_data(written(root, held))
        with pytest.raises(SourceError, match=said):
            data.read(1)
        assert data.read(2).present == {2}


def test_annotations_that_are_nested_deeply_are_one_line(coco: tuple[Path, dict]) -> None:
    root, _ = coco
    deep = "[" * 100_000 + "]" * 100_000
    (root / "annotations" / "instances_val2017.json").write_text(deep)
    with pytest.raises(SourceError, match="nested too deeply"):
        open_data(root)


def test_two_layouts_at_once_are_refused_naming_both(coco: tuple[Path, dict]) -> None:
    root = written(*coco)
    (root / "images").mkdir()
    (root / "masks").mkdir()
    with pytest.raises(SourceError, match=r"images/ and masks/ \(pairs\) and .*COCO.*move one"):
        open_data(root)
