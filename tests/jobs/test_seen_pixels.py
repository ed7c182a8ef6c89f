"""Maps are of the pixels that the scan saw: its way of decoding, transparency and JPEG sizes."""

import io
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from jobs import console
from jobs.commands import map as map_command
from jobs.commands import map_statistics, scan, segment
from jobs.commands.map import MapConfig
from jobs.commands.map_statistics import MapStatisticsConfig
from jobs.commands.segment import SegmentConfig
from jobs.explore.originals import SHOWN
from jobs.steps.models import load_for
from jobs.workers.segment import SegmentSpec, SegmentWorker
from pipeline.masks.registry import open_data
from pipeline.pictures.decode import EXACT, Decoding, decode
from tests.conftest import scan_config
from warehouse.files.layout import Warehouse
from warehouse.store.opened import open_snapshot
from warehouse.store.reading import matrix, read_images

NAMES = ("large.jpg", "under.png")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return pictures that look otherwise by another decoding, with masks."""
    root = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    (root / "images").mkdir()
    (root / "masks").mkdir()
    blocks = np.kron(rng.integers(0, 2, (150, 150, 3)), np.ones((4, 4, 1))) * 255
    Image.fromarray(blocks.astype(np.uint8)).save(root / "images" / NAMES[0], quality=60)
    hidden = rng.integers(0, 255, (48, 48, 4), dtype=np.uint8)
    hidden[8:40, 8:40, 3] = 0
    Image.fromarray(hidden).save(root / "images" / NAMES[1])
    for name, side in zip(NAMES, (600, 48), strict=True):
        mask = np.zeros((side, side), np.uint8)
        mask[: side // 2] = 255
        Image.fromarray(mask).save(root / "masks" / f"{Path(name).stem}.png")
    return root


@pytest.fixture(params=["scaled", "exact"])
def root(request: pytest.FixtureRequest, pairs: Path, tiny_config: Path, tmp_path: Path) -> Path:
    options = {"source": str(pairs / "images"), "path_column": None, "labels": None, "workers": 0}
    scan.run(scan_config(pairs, tiny_config, tmp_path / "w", **options, decode=request.param))
    return tmp_path / "w"


def stored(root: Path) -> tuple[dict[str, np.ndarray], Decoding]:
    """Return the embeddings that the scan stored, and how it decoded."""
    opened = open_snapshot(Warehouse(root), None)
    rows = read_images(opened.scan, opened.shards, ["key", "embedding"])
    found = dict(zip(rows["key"].to_pylist(), matrix(rows["embedding"]), strict=True))
    return found, Decoding.of(opened.record.model.preprocessing)


def test_a_map_scores_the_picture_as_the_scan_does(root: Path, pairs: Path) -> None:
    there, how = stored(root)
    loaded = load_for(open_snapshot(Warehouse(root), None).record)
    texts = loaded.encode_text(["a cat", "a boat"]).numpy()
    for name in NAMES:
        path = pairs / "images" / name
        config = MapConfig(
            image=path,
            texts=("a cat", "a boat"),
            warehouse=root,
            output=root / "map.png",
            points=True,
        )
        done = map_command.run(config)
        np.testing.assert_allclose(done.scores, texts @ there[name], atol=2e-6)
        # points are of the whole picture, whatever was decoded
        with Image.open(path) as whole:
            places = [p for one in done.points for p in (*one.positive, *one.negative)]
            assert max(x for x, _ in places) > whole.width / 2
            assert all(0 < x < whole.width and 0 < y < whole.height for x, y in places)
        # by another decoding it is another picture
        other = Decoding(not how.on_white, 64 if how.reach is None else None)
        pixels = loaded.transform(decode(path.read_bytes(), other))[None]
        with torch.inference_mode():
            another = torch.nn.functional.normalize(loaded.tower.own(pixels), dim=-1)[0].numpy()
        assert np.abs(texts @ another - texts @ there[name]).max() > 2e-5


def test_segment_and_map_statistics_see_what_the_scan_saw(root: Path, pairs: Path) -> None:
    there, _ = stored(root)
    record = open_snapshot(Warehouse(root), None).record
    data = open_data(pairs, classes=("cat", "boat"))
    options = SegmentConfig(data=pairs, warehouse=root, methods="tokens", classes=("cat", "boat"))
    spec = SegmentSpec(
        options, data, ("tokens",), record.model_path, record.pretrained_path, "fp32", 1, record
    )
    batch = SegmentWorker(spec).read([0, 1], [])
    assert batch is not None and data.keys == NAMES
    for name, seen, mask in zip(NAMES, batch.embedding.numpy(), batch.masks, strict=True):
        np.testing.assert_allclose(seen, there[name], atol=2e-6)
        assert mask[:16].all() and not mask[16:].any()
    found = []
    for masks in ("foreground", None):
        config = MapStatisticsConfig(
            data=str(pairs if masks else pairs / "images"),
            warehouse=root,
            text=("a cat", "a boat"),
            masks=masks,
            classes=("cat", "boat") if masks else (),
            workers=0,
            name=f"{masks}",
        )
        map_statistics.run(config)
        (path,) = root.glob(f"scans/s/*map_statistics/{masks}.parquet")
        found.append(pq.read_table(path).to_pydict()["magnitude"])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_segment_by_a_named_model_decodes_as_a_new_scan_would(
    pairs: Path, tiny_config: Path, tmp_path: Path
) -> None:
    config = SegmentConfig(
        data=pairs, model=str(tiny_config), pretrained="none", methods="tokens",
        classes=("cat", "boat"), output=tmp_path / "out", workers=0, examples=0,
    )  # fmt: skip
    assert segment.run(config).images == 2
    data = open_data(pairs, classes=("cat", "boat"))
    spec = SegmentSpec(config, data, ("tokens",), str(tiny_config), "none", "fp32", 1)
    assert SegmentWorker(spec).how == Decoding(on_white=True, reach=64)


def test_what_is_shown_lies_on_white(pairs: Path) -> None:
    data = (pairs / "images" / NAMES[1]).read_bytes()
    picture = decode(data, SHOWN)
    assert picture.getpixel((24, 24)) == (255, 255, 255) != decode(data, EXACT).getpixel((24, 24))


def test_what_takes_long_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "EVERY", 0.05)
    with console.working("lrp at 448 x 448"):
        torch.zeros(1)
        time.sleep(0.2)
    said = io.StringIO(capsys.readouterr().err).readlines()
    assert 2 <= len(said) <= 4 and all("lrp at 448 x 448: 0 s so far" in line for line in said)
