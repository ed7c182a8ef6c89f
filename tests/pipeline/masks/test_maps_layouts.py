"""ImageNet-S, COCO, Waterbirds and folder pairs of classes: small real files in each layout."""

import csv
import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from demo.model import CONFIG
from jobs.commands.segment import SegmentConfig
from jobs.workers.segment import Chunk, SegmentSpec, SegmentWorker
from pipeline.maps.scoring import Confusion, mean_iou, semantic_counts
from pipeline.masks.coco import instance_mask
from pipeline.masks.registry import IGNORE, open_data
from schemas.errors import SourceError, UsageError


def picture(path: Path, width: int = 64, height: int = 64, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def mask(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)
    return path


def boxes(shape: tuple[int, int], **values: tuple[slice, slice]) -> np.ndarray:
    found = np.zeros(shape, dtype=np.int64)
    for name, where in values.items():
        found[where] = int(name[1:])
    return found


# ImageNet-S


@pytest.fixture
def imagenet_s(tmp_path: Path) -> Path:
    """Return three synsets; in the third's mask are class 3, other, and what counts for nothing."""
    root = tmp_path / "ImageNetS3"
    for i, synset in enumerate(("n01", "n02", "n03"), start=1):
        picture(root / "validation" / synset / f"ILSVRC2012_val_{i}.JPEG", 30, 20, i)
        classes = boxes((20, 30), **{f"c{i}": np.s_[2:9, 3:12], "c1000": np.s_[15:, 20:]})
        coded = np.stack([classes % 256, classes // 256, np.zeros_like(classes)], axis=-1)
        mask(root / "validation-segmentation" / synset / f"ILSVRC2012_val_{i}.png", coded)
    return root


def test_imagenet_s_takes_a_class_from_two_channels(imagenet_s: Path) -> None:
    data = open_data(imagenet_s, classes=("cat", "dog", "fox"))
    assert data.by_class and data.keys[2] == "n03/ILSVRC2012_val_3.JPEG"
    example = data.read(2)
    expected = boxes((20, 30), c3=np.s_[2:9, 3:12])
    expected[15:, 20:] = IGNORE
    np.testing.assert_array_equal(example.mask, expected)
    assert example.picture.size == (30, 20)


def test_imagenet_s_has_classes_beyond_a_byte(tmp_path: Path) -> None:
    names = [f"n{i:05d}" for i in range(300)]
    for name in names:
        (tmp_path / "validation" / name).mkdir(parents=True)
        (tmp_path / "validation" / name / "a.JPEG").write_bytes(b"")
        path = tmp_path / "validation-segmentation" / name / "a.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    picture(tmp_path / "validation" / names[254] / "a.JPEG", 8, 8)
    coded = np.zeros((8, 8, 3), dtype=np.uint8)
    coded[:4, :, 0], coded[4:, :, 0], coded[4:, :, 1] = 255, 44, 1
    mask(tmp_path / "validation-segmentation" / names[254] / "a.png", coded)
    # 255 is a class like any other here, and 300 = 44 + 256
    assert np.unique(open_data(tmp_path, classes=names).read(254).mask).tolist() == [255, 300]


def test_imagenet_s_in_parts_or_with_other_masks_is_refused(imagenet_s: Path) -> None:
    with pytest.raises(UsageError, match="got 2 names, ImageNetS3 with its synsets has 3"):
        open_data(imagenet_s, classes=("cat", "dog"))
    grey = imagenet_s / "validation-segmentation" / "n02" / "ILSVRC2012_val_2.png"
    mask(grey, np.zeros((20, 30)))
    with pytest.raises(SourceError, match=r"is L; expected RGB, class = R \+ 256 G"):
        open_data(imagenet_s, classes=("a", "b", "c")).read(1)
    grey.unlink()
    with pytest.raises(SourceError, match=r"n02/ILSVRC2012_val_2\.JPEG has no mask"):
        open_data(imagenet_s, classes=("a", "b", "c"))


# COCO


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Return three pictures: a small dog on a large cat, a crowd of zebras, and none."""
    root = tmp_path / "coco"
    for i in (1, 2, 3):
        picture(root / "val2017" / f"{i:012d}.png", seed=i)
    crowd = np.zeros((64, 64), dtype=bool)
    crowd[10:50, 5:30] = True
    flat = crowd.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, flat.size]).tolist()
    annotations = [
        # the smaller one stands first here and must still be drawn last
        {"image_id": 1, "category_id": 18, "area": 100, "segmentation": [square(20, 20, 10)]},
        {"image_id": 1, "category_id": 17, "area": 1600, "segmentation": [square(8, 8, 40)]},
        {
            "image_id": 2,
            "category_id": 24,
            "area": 1000,
            "iscrowd": 1,
            "segmentation": {"counts": counts, "size": [64, 64]},
        },
    ]
    names = {24: "zebra", 17: "cat", 18: "dog"}
    held = {
        "images": [{"id": i, "file_name": f"{i:012d}.png"} for i in (3, 1, 2)],
        "annotations": [{"id": i, **one} for i, one in enumerate(annotations)],
        "categories": [{"id": i, "name": name} for i, name in names.items()],
    }
    (root / "annotations").mkdir()
    for split in ("train2017", "val2017"):
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(held))
    return root


def square(x: int, y: int, side: int) -> list[int]:
    return [x, y, x + side, y, x + side, y + side, x, y + side]


def test_coco_draws_the_smaller_over_the_larger_and_keeps_sparse_ids_in_order(coco: Path) -> None:
    data = open_data(coco)
    assert data.classes == ("cat", "dog", "zebra")
    assert data.keys == tuple(f"{i:012d}.png" for i in (1, 2, 3))
    data.read(0)
    data = pickle.loads(pickle.dumps(data))
    first, second, third = (data.read(i) for i in range(3))
    expected = boxes((64, 64), c1=np.s_[8:48, 8:48], c2=np.s_[20:30, 20:30])
    np.testing.assert_array_equal(first.mask, expected)
    np.testing.assert_array_equal(second.mask, boxes((64, 64), c3=np.s_[10:50, 5:30]))
    assert (first.present, second.present) == ({1, 2}, {3})
    assert not third.mask.any() and third.present == frozenset()
    given = open_data(coco / "annotations" / "instances_val2017.json", classes=("a", "b", "c"))
    assert given.classes == ("a", "b", "c")


def test_compressed_run_lengths_are_as_pycocotools_writes_them() -> None:
    # pycocotools 2.0.11 of the mask below
    expected = np.zeros((9, 12), dtype=bool)
    expected[2:5, 3:9] = True
    expected[6, 4] = True
    found = instance_mask({"counts": "m0360KN32200000i0", "size": [9, 12]}, 9, 12)
    np.testing.assert_array_equal(found, expected)


def test_a_polygon_covers_what_it_covers() -> None:
    triangle = instance_mask([[0, 0, 40, 0, 0, 40]], 50, 60)
    rows, columns = np.mgrid[:50, :60] + 0.5
    # centres on the edge itself are outside
    np.testing.assert_array_equal(triangle, rows + columns < 40)
    assert not instance_mask([[70, 70, 80, 70, 80, 80]], 50, 60).any()


def test_coco_that_is_incomplete_is_refused(coco: Path) -> None:
    path = coco / "annotations" / "instances_val2017.json"
    with pytest.raises(SourceError, match=r"needs its pictures in .*train2017"):
        open_data(coco / "annotations" / "instances_train2017.json")
    path.rename(coco / "annotations" / "instances_minival.json")
    with pytest.raises(SourceError, match="give one of the files"):
        open_data(coco)
    path.write_text("{}")
    with pytest.raises(SourceError, match="lists images, annotations and categories"):
        open_data(coco)
    held = json.loads((coco / "annotations" / "instances_train2017.json").read_text())
    held["annotations"][2]["segmentation"]["counts"] = [5, 6]
    path.write_text(json.dumps(held))
    with pytest.raises(SourceError, match="run lengths of 11 pixels, expected 64 x 64"):
        open_data(path).read(1)


# Waterbirds


@pytest.fixture
def waterbirds(tmp_path: Path) -> Path:
    root = tmp_path / "waterbirds"
    rows = []
    for i, (y, split) in enumerate([("0", "2"), ("1", "2"), ("1", "0")]):
        name = f"00{i}.Bird/bird_{i}.jpg"
        picture(root / name, 40, 30, i)
        grey = boxes((30, 40), c51=np.s_[2:20, 2:20], c204=np.s_[5:15, 5:15])
        mask(root / "segmentations" / f"00{i}.Bird" / f"bird_{i}.png", grey)
        row = {"img_id": i, "img_filename": name, "y": y, "split": split, "place": "0"}
        rows.append({**row, "place_filename": "/b/bamboo.jpg"})
    with (root / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return root


def test_waterbirds_are_the_test_split_and_half_the_annotators(waterbirds: Path) -> None:
    data = open_data(waterbirds)
    assert data.keys == ("000.Bird/bird_0.jpg", "001.Bird/bird_1.jpg")
    assert data.labels == ("landbird", "waterbird") and not data.by_class
    np.testing.assert_array_equal(data.read(1).mask, boxes((30, 40), c1=np.s_[5:15, 5:15]))
    named = open_data(waterbirds, classes=("land bird", "water bird"))
    assert named.labels == ("land bird", "water bird")


def test_waterbirds_without_masks_say_where_they_come_from(waterbirds: Path) -> None:
    (waterbirds / "segmentations").rename(waterbirds / "elsewhere")
    with pytest.raises(SourceError, match=r"CUB-200-2011's segmentations: unpack"):
        open_data(waterbirds)


# Folder pairs


def test_pairs_hold_foreground_or_classes_as_told(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a" / "x.jpg")
    values = boxes((64, 64), c1=np.s_[:9], c2=np.s_[9:20], c255=np.s_[60:])
    mask(tmp_path / "masks" / "a" / "x.png", values)
    names = ("cat", "dog")
    plain = open_data(tmp_path, classes=names)
    np.testing.assert_array_equal(plain.read(0).mask, values > 0)
    by_class = open_data(tmp_path, classes=names, class_masks=True)
    assert by_class.by_class
    np.testing.assert_array_equal(by_class.read(0).mask, np.where(values == 255, IGNORE, values))
    with pytest.raises(SourceError, match="class 2 in the mask, expected 0 to 1"):
        open_data(tmp_path, classes=("cat",), class_masks=True).read(0)
    with pytest.raises(UsageError, match="need --classes"):
        open_data(tmp_path, class_masks=True)


# What is none of these


def test_another_folder_gets_one_line_that_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "x.mat").write_text("nothing")
    with pytest.raises(SourceError) as caught:
        open_data(tmp_path)
    said = str(caught.value)
    assert "\n" not in said
    for name in ("pairs", "VOC", "ImageNet-S", "COCO", "Waterbirds", "ImageNet-Segmentation"):
        assert name in said
    with pytest.raises(SourceError, match=r"cannot open .*x\.mat"):
        open_data(tmp_path / "x.mat")
    with pytest.raises(SourceError, match="does not exist"):
        open_data(tmp_path / "absent")
    with pytest.raises(UsageError, match="labels: only a folder with images/ and masks/"):
        open_data(tmp_path, "kind")


# What is scored


def rows_of(data: Path, folder: Path, **options: object) -> tuple[SegmentWorker, list[dict]]:
    values = {"data": data, "output": folder, "model": str(CONFIG), "methods": "tokens"}
    config = SegmentConfig.checked({**values, **options})
    found = open_data(config.data, config.labels, config.classes)
    spec = SegmentSpec(config, found, ("tokens",), str(CONFIG), "none", "fp32", 1)
    worker = SegmentWorker(spec)
    path = worker(Chunk(0, len(found.keys), folder / "part.parquet"))
    return worker, pq.read_table(path).to_pylist()


def test_cocos_labels_are_the_annotations_even_where_the_crop_leaves_nothing(
    coco: Path, tmp_path: Path
) -> None:
    path = coco / "annotations" / "instances_val2017.json"
    held = json.loads(path.read_text())
    tiny = {"id": 9, "image_id": 3, "category_id": 24, "area": 0.01, "segmentation": [[1] * 6]}
    held["annotations"].append(tiny)
    path.write_text(json.dumps(held))
    _, rows = rows_of(coco, tmp_path)
    present = {r["key"]: np.flatnonzero(r["present"]).tolist() for r in rows if r["present"]}
    assert list(present.values()) == [[0, 1], [2], [2]]
    assert [r["class"] for r in rows if r["method"] == "tokens"] == [0, 1, 2]


def test_a_background_threshold_makes_the_background_a_class(coco: Path, tmp_path: Path) -> None:
    _, ignored = rows_of(coco, tmp_path)
    _, counted = rows_of(coco, tmp_path, background=0.7)
    first, second = (
        Confusion(*(np.array(r[name]) for name in ("cells", "cell_pixels")), n).dense()
        for n, rows in ((3, ignored), (4, counted))
        for r in [next(r for r in rows if r["cells"])]
    )
    # 40 x 40 pixels of instances in the first picture of 64 x 64
    assert (first.size, first.sum(), second.size, second.sum()) == (9, 1600, 16, 4096)


@pytest.mark.parametrize("background", [None, 0.0, 0.6, 1.0])
def test_semantic_counts_are_their_definition(background: float | None) -> None:
    rng = np.random.default_rng(4)
    values, truth = rng.normal(size=(3, 6, 7)), rng.integers(-1, 4, (6, 7))
    n = 3 if background is None else 4
    expected = np.zeros((n, n), dtype=int)
    scaled = (values - values.min()) / (values.max() - values.min())
    for y, x in np.ndindex(6, 7):
        true, best = truth[y, x], scaled[:, y, x].argmax()
        if true == IGNORE or (true == 0 and background is None):
            continue
        if background is not None and scaled[:, y, x].max() < background:
            best = 3
        expected[3 if true == 0 else true - 1, best] += 1
    found = semantic_counts([values], truth, background).dense()
    np.testing.assert_array_equal(found, expected)
    assert 0 <= mean_iou(found) <= 1
