"""Data sets with masks, protocols, and `headatlas segment` from pictures to the table."""

import csv
import pickle
import shutil
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from demo.model import CONFIG
from demo.world import materialise
from jobs.commands import segment
from jobs.commands.segment import SegmentConfig
from jobs.steps import segmentation
from jobs.steps.chunks import Chunk
from jobs.workers.segment import SegmentSpec, SegmentWorker
from pipeline.maps.registry import METHODS
from pipeline.maps.scoring import Confusion, mean_iou, score_picture
from pipeline.maps.segmenter import Segmenter
from pipeline.maps.shared import points, resize
from pipeline.masks.protocol import mask_for_model
from pipeline.masks.registry import IGNORE, open_data
from pipeline.texts.class_weights import class_weights
from pipeline.towers.models import load_model
from schemas.errors import SourceError, StaleScan, UsageError
from tests.tiny_sam import tiny_sam

FAST = "contribution,tokens,surgery-features"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world") / "data"
    materialise("test", root, 6)
    return root


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("voc")
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        noise = rng.integers(0, 255, (70, 90, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / "JPEGImages" / f"{name}.jpg")
        mask = np.zeros((70, 90), dtype=np.uint8)
        mask[10:40, 20:60], mask[40:60, 20:60], mask[5:10] = 3, 12, 255
        palette = Image.fromarray(mask).convert("P")
        palette.putdata(mask.ravel().tolist())
        palette.putpalette(list(range(255, -1, -1)) * 3)
        palette.save(root / "SegmentationClass" / f"{name}.png")
    (root / "ImageSets/Segmentation/val.txt").write_text("a\nb\nc\n")
    return root


def config(data: Path, output: Path, **options: object) -> SegmentConfig:
    values = {"data": data, "output": output, "model": str(CONFIG), "labels": "kind"}
    values["pretrained"] = "none"
    return SegmentConfig.checked({**values, "methods": FAST, "batch_size": 4, **options})


def spec_of(options: SegmentConfig) -> SegmentSpec:
    data = open_data(options.data, options.labels, options.classes)
    return SegmentSpec(options, data, tuple(FAST.split(",")), str(CONFIG), "none", "fp32", 1)


def test_the_shipped_layout_is_read_with_its_labels(world: Path) -> None:
    data = open_data(world, "kind")
    with (world / "metadata.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert data.labels == tuple(row["kind"] for row in rows)
    assert set(data.labels) == set(data.classes)
    example = data.read(2)
    with Image.open(world / "masks" / "000002.png") as mask:
        np.testing.assert_array_equal(example.mask, np.asarray(mask) // 255)
    assert example.picture.size == (64, 64)


def test_voc_masks_are_palette_indices(voc: Path) -> None:
    data = open_data(voc)
    assert data.keys == ("a", "b", "c") and len(data.classes) == 20
    assert np.unique(data.read(1).mask).tolist() == [IGNORE, 0, 3, 12]


def test_imagenet_segmentation_is_read_from_hdf5_by_any_process(tmp_path: Path) -> None:
    path, rng = tmp_path / "gtsegs_ijcv.mat", np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (20, 30, 3), dtype=np.uint8) for _ in range(2)]
    masks = [rng.integers(0, 2, (20, 30), dtype=np.uint8) for _ in range(2)]
    with h5py.File(path, "w") as f:
        refs = {kind: [] for kind in ("img", "gt", "id")}
        for i, synset in enumerate(("n02", "n01")):
            inner = f.create_dataset(f"mask{i}", data=masks[i].transpose(1, 0))
            holder = f.create_dataset(f"gt{i}", (1, 1), dtype=h5py.ref_dtype)
            holder[0, 0] = inner.ref
            refs["img"].append(f.create_dataset(f"img{i}", data=pictures[i].transpose(2, 1, 0)).ref)
            refs["gt"].append(holder.ref)
            letters = np.array([[ord(c)] for c in synset], dtype=np.uint16)
            refs["id"].append(f.create_dataset(f"id{i}", data=letters).ref)
        for kind, found in refs.items():
            f.create_dataset(f"value/{kind}", (2, 1), dtype=h5py.ref_dtype)[:, 0] = found
    data = open_data(path, classes=("first", "second"))
    data.read(0)
    data = pickle.loads(pickle.dumps(data))
    assert data.labels == ("second", "first")
    for i in range(2):
        example = data.read(i)
        np.testing.assert_array_equal(np.asarray(example.picture), pictures[i])
        np.testing.assert_array_equal(example.mask, masks[i])
    with pytest.raises(UsageError, match=r"got 1 names, gtsegs_ijcv\.mat with its synsets has 2"):
        open_data(path, classes=("first",))


def test_what_is_no_data_set_is_refused(tmp_path: Path, world: Path) -> None:
    with pytest.raises(SourceError, match="expected images/ and masks/"):
        open_data(tmp_path)
    with pytest.raises(UsageError, match="no class names"):
        open_data(world)
    with pytest.raises(UsageError, match="expected columns img_filename and species"):
        open_data(world, "species")
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "x.jpg")
    with pytest.raises(SourceError, match=r"1 picture without a mask, the first is x\.jpg"):
        open_data(tmp_path, classes=("cat",))
    Image.new("L", (8, 9)).save(tmp_path / "masks" / "x.png")
    with pytest.raises(SourceError, match="expected the same size"):
        open_data(tmp_path, classes=("cat",)).read(0)


@pytest.mark.parametrize("size", [(64, 64), (90, 70), (70, 131)])
def test_an_aligned_mask_goes_through_the_pictures_own_geometry(size: tuple[int, int]) -> None:
    loaded = load_model(str(CONFIG), "none")
    width, height = size
    mask = np.zeros((height, width), dtype=np.int32)
    mask[height // 4 : height // 2, width // 3 : width // 2] = 255
    seen = loaded.transform(Image.fromarray(mask.astype(np.uint8)).convert("RGB"))[0]
    picture = (seen - seen.min()) / (seen.max() - seen.min()) > 0.5
    record = loaded.record.preprocessing
    aligned = mask_for_model(mask, record, "aligned") > 0
    assert aligned.shape == (64, 64)
    assert (aligned != picture.numpy()).mean() < 0.02
    squashed = mask_for_model(mask, record, "reference") > 0
    np.testing.assert_allclose(squashed.mean(), (mask > 0).mean(), atol=0.01)


def test_rows_are_the_scores_of_the_maps_in_any_chunks(world: Path, tmp_path: Path) -> None:
    options = config(world, tmp_path, asked="true")
    worker = SegmentWorker(spec_of(options))
    whole = pq.read_table(worker(Chunk(0, 6, tmp_path / "whole.parquet")))
    halves = [
        pq.read_table(worker(Chunk(i, i + 3, tmp_path / f"{i}.parquet"))).to_pylist()
        for i in (0, 3)
    ]
    rows = {(r["key"], r["method"]): r for r in whole.to_pylist()}
    assert len(rows) == 18
    for row in [*halves[0], *halves[1]]:
        # a batch of another size rounds otherwise: a pixel at the threshold may change sides
        same = rows[row["key"], row["method"]]
        assert abs(row["correct"] - same["correct"]) <= 4
        assert row["average_precision"] == pytest.approx(same["average_precision"], abs=1e-4)

    loaded = worker.loaded
    data = open_data(world, "kind")
    example = data.read(1)
    pixels = loaded.transform(example.picture)[None]
    text = worker.labels[[data.classes.index(data.labels[1])]]
    values = METHODS["tokens"].run(loaded.visual, pixels, text, worker.labels).values
    full = resize(values, (64, 64))[0, 0].double().numpy()
    expected = score_picture(full, example.mask == 1)
    row = rows["000001.png", "tokens"]
    assert abs(row["correct"] - expected.correct) <= 4
    assert row["average_precision"] == pytest.approx(expected.average_precision, abs=1e-4)


def test_class_masks_score_each_class_and_their_argmax(voc: Path, tmp_path: Path) -> None:
    worker = SegmentWorker(spec_of(config(voc, tmp_path, labels=None)))
    rows = pq.read_table(worker(Chunk(0, 3, tmp_path / "x.parquet"))).to_pylist()
    tokens = [r for r in rows if r["method"] == "tokens"]
    assert [r["class"] for r in tokens] == [2, 11] * 3
    loaded, counts = worker.loaded, np.zeros((20, 20), dtype=np.int64)
    data = open_data(voc)
    for i in range(3):
        example = data.read(i)
        pixels = loaded.transform(example.picture)[None]
        values = METHODS["tokens"].run(loaded.visual, pixels, worker.labels, worker.labels).values
        best = resize(values, (64, 64))[0].double().argmax(0).numpy()
        mask = mask_for_model(example.mask, loaded.record.preprocessing, "aligned")
        for c in (3, 12):
            counts[c - 1] += np.bincount(best[mask == c], minlength=20)
    found = sum(
        Confusion(np.array(r["cells"]), np.array(r["cell_pixels"]), 20).dense()
        for r in tokens
        if r["cells"]
    )
    assert np.abs(found - counts).sum() <= 8
    assert mean_iou(found) == pytest.approx(mean_iou(counts), abs=1e-3)
    labelled = [r for r in rows if r["present"] is not None]
    assert [np.flatnonzero(r["present"]).tolist() for r in labelled] == [[2, 11]] * 3
    torch.testing.assert_close(sum(labelled[0]["surgery"]), 0.0, atol=1e-5, rtol=0)


def test_a_rerun_goes_on_and_other_options_are_refused(ray_session: None, tmp_path: Path) -> None:
    data = tmp_path / "data"
    materialise("test", data, 6)
    (data / "images" / "000004.png").write_bytes(b"broken")
    options = config(data, tmp_path / "out", shard_size=3, examples=2, workers=1)
    first = segment.run(options)
    assert (first.images, [key for key, _ in first.rejects]) == (5, ["000004.png"])
    assert {s.method for s in first.scores} == set(FAST.split(","))
    parts = sorted((tmp_path / "out" / "parts").iterdir())
    assert len(parts) == 2
    kept = parts[0].stat().st_mtime_ns
    parts[1].unlink()
    again = segment.run(options.model_copy(update={"workers": 0}))
    assert parts[0].stat().st_mtime_ns == kept
    for one, other in zip(first.scores, again.scores, strict=True):
        assert (one.method, one.miou, one.map) == (other.method, other.miou, other.map)
    table = pq.read_table(tmp_path / "out" / "scores.parquet")
    assert table["miou"].to_pylist() == [s.miou for s in again.scores]
    assert (tmp_path / "out" / "scores.csv").read_text().count("\n") == 4
    with Image.open(tmp_path / "out" / "examples.png") as page:
        # two pictures side by side; themselves, their masks and three methods below
        assert page.size[1] > page.size[0]
    with pytest.raises(StaleScan, match="option protocol aligned -> reference"):
        segment.run(options.model_copy(update={"protocol": "reference"}))


def test_masks_by_a_segmenter_are_scored_beside_the_maps(
    world: Path, voc: Path, tmp_path: Path
) -> None:
    sam = tiny_sam(tmp_path / "sam")
    by_sam = {"sam": sam, "methods": "tokens,surgery-features", "workers": 0, "examples": 2}
    asked = config(world, tmp_path / "out", asked="true", **by_sam)
    done = segment.run(asked)
    methods = {s.method: s for s in done.scores}
    assert set(methods) == {"tokens", "tokens+sam", "surgery-features", "surgery-features+sam"}
    assert methods["tokens+sam"].milliseconds > methods["tokens"].milliseconds
    data = open_data(world, "kind")
    loaded, segmenter = load_model(str(CONFIG), "none"), Segmenter(sam, torch.device("cpu"))
    labels = torch.from_numpy(
        class_weights(loaded.encode_text, data.classes, ("a photo of a {}.",))
    ).float()
    correct = total = 0
    for i in range(6):
        example = data.read(i)
        pixels = loaded.transform(example.picture)[None]
        text = labels[[data.classes.index(data.labels[i])]]
        values = METHODS["tokens"].run(loaded.visual, pixels, text, labels).values[0, 0]
        (mask,) = segmenter(example.picture, [points(values, 64, 64)])
        correct += int((mask == (example.mask == 1)).sum())
        total += mask.size
    # the pictures have the model's own size: what it saw is the picture, to rounding
    assert methods["tokens+sam"].pixel_accuracy == pytest.approx(correct / total, abs=0.02)
    assert segment.run(asked).scores == done.scores
    with pytest.raises(StaleScan, match="option sam"):
        segment.run(asked.model_copy(update={"sam": tiny_sam(tmp_path / "sam2", "sam2")}))
    with pytest.raises(UsageError, match="takes --protocol aligned, not reference"):
        segment.run(asked.model_copy(update={"protocol": "reference"}))
    classes = config(voc, tmp_path / "voc", labels=None, **by_sam)
    done = segment.run(classes)
    assert {s.method: s.maps for s in done.scores} == dict.fromkeys(methods, 6)


def test_nine_hundred_classes_take_no_more_than_their_pixels(voc: Path, tmp_path: Path) -> None:
    names = tuple(f"class {i}" for i in range(919))
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    shutil.copy(voc / "JPEGImages" / "a.jpg", tmp_path / "data" / "images" / "a.jpg")
    shutil.copy(voc / "SegmentationClass" / "a.png", tmp_path / "data" / "masks" / "a.png")
    options = config(tmp_path / "data", tmp_path / "out", labels=None, classes=",".join(names))
    data = open_data(tmp_path / "data", classes=names, class_masks=True)
    worker = SegmentWorker(SegmentSpec(options, data, ("tokens",), str(CONFIG), "none", "fp32", 1))
    path = worker(Chunk(0, 1, tmp_path / "x.parquet"))
    row = next(r for r in pq.read_table(path).to_pylist() if r["cells"])
    assert len(row["cells"]) == len(row["cell_pixels"]) <= sum(row["cell_pixels"]) <= 64 * 64
    # dense it would be 919² numbers of 8 bytes, in each row
    assert path.stat().st_size < 200_000


def test_the_page_of_examples_says_both_classes_where_they_differ(world: Path) -> None:
    data = open_data(world, "kind")
    spec = SegmentSpec(config(world, world), data, ("tokens",), str(CONFIG), "none", "fp32", 1)
    true = data.classes.index(data.labels[0])
    other = (true + 1) % len(data.classes)
    assert segmentation._name(spec, 0, true) == data.labels[0]
    found = segmentation._name(spec, 0, other)
    assert found == f"{data.classes[other]} (true: {data.labels[0]})"


def test_wrong_options_are_refused(world: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"exactly one \{\}"):
        segment.run(config(world, tmp_path / "o", template="a photo"))
    with pytest.raises(UsageError, match="labels are not known"):
        segment.run(config(world, tmp_path / "o", labels=None, classes="cat,dog", asked="true"))
    with pytest.raises(UsageError, match="no model"):
        segment.run(SegmentConfig(data=world, labels="kind", output=tmp_path / "o"))
