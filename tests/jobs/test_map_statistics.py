"""`headatlas map-statistics`: the table against maps that are materialised, kills, refusals."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from jobs.cli import program
from jobs.commands import gc, map_statistics, scan, verify
from jobs.commands.gc import GcConfig
from jobs.commands.map_statistics import MapStatisticsConfig
from jobs.commands.scan import ScanConfig
from jobs.commands.verify import VerifyConfig
from jobs.steps import map_statistics as measuring
from pipeline.towers.models import load_model
from schemas.errors import RunFailed, UsageError
from tests import warm
from tests.maps_literal import gain, layers_of
from warehouse.database.query import query
from warehouse.files.layout import Warehouse
from warehouse.results.files import read_result

TEXTS = ("a red bird", "a blue car", "grass")
LABELS = ("bird", "car", "bird", "car", "bird", "car")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return six labelled pictures of noise with masks of classes 1 and 2, the last one broken."""
    root, rng = tmp_path_factory.mktemp("pairs") / "pairs", np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    lines = ["img_filename,kind"]
    for i, label in enumerate(LABELS):
        noise = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / "images" / f"{i}.png")
        mask = np.zeros((32, 32), dtype=np.uint8)
        mask[i : i + 20, 6:30] = 1 + i % 2
        mask[20:28, 2:10] = 2
        mask[0:3, 0:3] = 255
        Image.fromarray(mask).save(root / "masks" / f"{i}.png")
        lines.append(f"{i}.png,{label}")
    (root / "images" / "5.png").write_bytes(b"broken")
    (root / "metadata.csv").write_text("\n".join(lines))
    return root


@pytest.fixture(scope="module")
def scanned(pairs: Path, tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the warehouse of a scan of those pictures by a small random model."""
    warehouse = tmp_path_factory.mktemp("scanned")
    scan.run(
        ScanConfig(
            source=str(pairs / "images"),
            model=str(tiny_config),
            pretrained="none",
            warehouse=warehouse,
            scan="s",
            workers=0,
        )
    )
    return warehouse


@pytest.fixture
def warehouse(scanned: Path, tmp_path: Path) -> Path:
    """Return a copy of that warehouse."""
    shutil.copytree(scanned, tmp_path / "w")
    return tmp_path / "w"


def config(data: Path, warehouse: Path, **options: object) -> MapStatisticsConfig:
    values = {"data": str(data), "warehouse": warehouse, "text": TEXTS, "name": "n", "workers": 0}
    return MapStatisticsConfig.checked({**values, "batch_size": 2, "shard_size": 4, **options})


def by_label(pairs: Path, warehouse: Path) -> MapStatisticsConfig:
    options = {"masks": "foreground", "labels": "kind", "shard_size": 1}
    return config(pairs, warehouse, **options)


@pytest.fixture(scope="module")
def measured(
    pairs: Path, scanned: Path, tmp_path_factory: pytest.TempPathFactory
) -> map_statistics.MapStatisticsResult:
    """Return an undisturbed run by label."""
    warehouse = tmp_path_factory.mktemp("measured") / "w"
    shutil.copytree(scanned, warehouse)
    return map_statistics.run(by_label(pairs, warehouse))


def literal_maps(tiny_config: Path, pictures: list[Path]) -> np.ndarray:
    """Return maps of the texts against their mean, [image, layer, head, token, text].

    Of each picture all contributions are materialised, [layer, token, head, d_joint], in float64.
    """
    loaded = load_model(str(tiny_config), "none")
    visual = loaded.visual.double()
    texts = loaded.encode_text(list(TEXTS)).double()
    found = []
    for path in pictures:
        with Image.open(path) as opened:
            pixels = loaded.transform(opened.convert("RGB")).double()[None]
        layers = layers_of(visual, pixels)
        z = layers[-1].after[0, 0]
        sigma = (z.var(correction=0) + visual.ln_post.eps).sqrt()
        norm = (visual.ln_post(z) @ visual.proj).norm()
        n_heads, tokens, d_head = layers[0].v.shape[1:]
        c = torch.zeros(len(layers), tokens, n_heads, texts.shape[1], dtype=torch.float64)
        for i, (block, layer) in enumerate(zip(visual.transformer.resblocks, layers, strict=True)):
            for h in range(n_heads):
                columns = block.attn.out_proj.weight[:, h * d_head : (h + 1) * d_head]
                written = layer.a[0, h, 0][:, None] * layer.v[0, h] @ columns.T * gain(block.ls_1)
                centred = written - written.mean(-1, keepdim=True)
                c[i, :, h] = (centred * visual.ln_post.weight) @ visual.proj / (sigma * norm)
        found.append((c @ (texts - texts.mean(0)).T)[:, 1:].transpose(1, 2))
    return torch.stack(found).detach().numpy()


def literal_row(maps: np.ndarray, inside: np.ndarray | None) -> dict[str, float]:
    """Return the numbers of one row from [image, token] maps and the mask's share of each token."""
    size, tokens = np.abs(maps), maps.shape[1]
    share = size / size.sum(1, keepdims=True)
    entropy = -(share * np.log(share)).sum(1)
    positive = np.maximum(maps, 0)
    row = {
        "total": maps.sum(1).mean(),
        "total_sd": maps.sum(1).std(),
        "magnitude": size.sum(1).mean(),
        "positive_share": positive.sum() / size.sum(),
        "focus": (1 - entropy / np.log(tokens)).mean(),
        "effective_tokens": np.exp(entropy).mean(),
    }
    if inside is not None:
        row["on_mask"] = (share * inside).sum(1).mean()
        row["positive_on_mask"] = (positive * inside).sum() / positive.sum()
        row["mask_area"] = inside.mean()
    return row


def insides(pairs: Path, numbers: list[int], wanted: tuple[int, ...]) -> np.ndarray:
    """Return the share of each 8 x 8 patch that has one of these values in the mask."""
    found = []
    for i in numbers:
        with Image.open(pairs / "masks" / f"{i}.png") as opened:
            mask = np.isin(np.asarray(opened), wanted)
        found.append(mask.reshape(4, 8, 4, 8).mean(axis=(1, 3)).ravel())
    return np.stack(found)


def check(
    table: pa.Table, maps: np.ndarray, groups: dict[str | None, tuple[list[int], object]]
) -> None:
    """Compare every row of a table with the literal computation of its group."""
    rows = table.to_pylist()
    heads = [(layer, head) for layer in range(3) for head in range(3)]
    assert len(rows) == len(groups) * len(heads) * len(TEXTS)
    for row in rows:
        numbers, inside = groups[row["label"]]
        one = maps[numbers, row["layer"], row["head"], :, TEXTS.index(row["text"])]
        expected = literal_row(one, inside)
        assert row["pictures"] == len(numbers) and row["tokens"] == 16
        assert row["name"] == f"L{row['layer']}H{row['head']}"
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, rel=1e-4, abs=1e-7), (name, row)
        if inside is None:
            assert row["on_mask"] is row["positive_on_mask"] is row["mask_area"] is None


def test_the_table_is_that_of_maps_that_are_materialised(
    pairs: Path,
    warehouse: Path,
    tiny_config: Path,
    measured: map_statistics.MapStatisticsResult,
) -> None:
    maps = literal_maps(tiny_config, [pairs / "images" / f"{i}.png" for i in range(5)])
    every, birds, cars = [0, 1, 2, 3, 4], [0, 2, 4], [1, 3]

    assert (measured.images, measured.heads, measured.labels) == (5, 9, ("bird", "car"))
    assert [key for key, _ in measured.rejects] == ["5.png"]
    table, provenance = read_result(measured.path)
    groups = {None: every, "bird": birds, "car": cars}
    # of a foreground every value but 0 is part; of classes, 255 is ignored
    check(table, maps, {k: (v, insides(pairs, v, (1, 2, 255))) for k, v in groups.items()})
    assert provenance["data"] == str(pairs) and "snapshot" not in provenance

    by_class = config(pairs, warehouse, masks="classes", classes="bird,car")
    table, _ = read_result(map_statistics.run(by_class).path)
    expected = {
        None: (every, insides(pairs, every, (1, 2))),
        "bird": (birds, insides(pairs, birds, (1,))),
        "car": (every, insides(pairs, every, (2,))),
    }
    check(table, maps, expected)

    plain = config(pairs / "images", warehouse)
    table, _ = read_result(map_statistics.run(plain).path)
    check(table, maps, {None: (every, None)})


def test_the_command_publishes_what_sql_can_ask(pairs: Path, warehouse: Path) -> None:
    command = [
        *("map-statistics", str(pairs), "--warehouse", str(warehouse), "--masks", "foreground"),
        *("--labels", "kind", "--text", "a bird", "--heads", "L1H2,L2H0", "--workers", "0"),
    ]
    done = CliRunner().invoke(program(command), command)
    assert done.exit_code == 0, done.output
    assert "2 heads, 1 text, 5 pictures, by 2 labels too" in done.output
    answer = query(
        Warehouse(warehouse),
        "SELECT name, positive_on_mask, on_mask, mask_area, n.variance_share "
        "FROM head_map_statistics JOIN heads AS n USING (scan_id, layer, head, name) "
        "WHERE text = 'a bird' AND label = 'bird' ORDER BY positive_on_mask DESC",
    )
    assert sorted(answer["name"].to_pylist()) == ["L1H2", "L2H0"]
    (row,) = query(
        Warehouse(warehouse), "FROM results WHERE kind = 'head_map_statistics'"
    ).to_pylist()
    assert (row["stale"], row["snapshot"]) == (False, None)
    # the same again is there already; another option is another table
    again = CliRunner().invoke(program(command), command)
    assert "there already" in again.output
    assert len(list((warehouse / "scans/s/head_map_statistics").iterdir())) == 1
    assert not list((warehouse / "scans/s").glob("unfinished/*"))
    check_all = VerifyConfig(warehouse=warehouse)
    assert verify.check(check_all).reports[0].problems == ()
    (path,) = (warehouse / "scans/s/head_map_statistics").iterdir()
    path.write_bytes(path.read_bytes()[:-9])
    (problem,) = verify.check(check_all).reports[0].problems
    assert problem.file == f"head_map_statistics/{path.name}"


def start(pairs: Path, warehouse: Path) -> warm.Program:
    command = [
        *(sys.executable, "-c", "from jobs.cli import main; main()", "map-statistics"),
        *(str(pairs), "--warehouse", str(warehouse), "--name", "n", "--no-publish"),
        *("--masks", "foreground", "--labels", "kind", "--batch-size", "2", "--shard-size", "1"),
        *("--workers", "0"),
        *(t for text in TEXTS for t in ("--text", text)),
    ]
    return warm.Program(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.timeout(600)
def test_a_killed_run_goes_on_to_the_same_table(
    pairs: Path, warehouse: Path, measured: map_statistics.MapStatisticsResult
) -> None:
    def parts() -> list[Path]:
        return sorted(warehouse.glob("scans/s/unfinished/*/part-*.parquet"))

    process = start(pairs, warehouse)
    try:
        while process.poll() is None and not parts():
            time.sleep(0.01)
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    finally:
        process.kill()
    path = warehouse / "scans/s/head_map_statistics/n.parquet"
    first = parts()[0]
    assert not path.exists()
    kept = first.stat().st_mtime_ns
    # the run that goes on does not touch what is there
    finish, seen = measuring._finish, []

    def watch(*given: object) -> None:
        seen.append(first.stat().st_mtime_ns)
        finish(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "_finish", watch)
        resumed, _ = read_result(map_statistics.run(by_label(pairs, warehouse)).path)
    assert seen == [kept]
    whole, _ = read_result(measured.path)
    for name in whole.column_names:
        one, other = resumed[name].to_pylist(), whole[name].to_pylist()
        same = pytest.approx(other, rel=1e-6) if pa.types.is_floating(whole[name].type) else other
        assert one == same


def test_what_cannot_be_measured_is_refused_by_name(
    pairs: Path, warehouse: Path, tmp_path: Path
) -> None:
    def refused(match: str, data: Path = pairs, **options: object) -> None:
        with pytest.raises(UsageError, match=match):
            map_statistics.run(config(data, warehouse, **options))

    images = pairs / "images"
    refused("got neither of --text and --pool", images, text=())
    refused("got both", images, pool="small")
    refused("one is empty", images, text=("  ",))
    refused("no head L3H0: this model has layers 0 to 2", images, heads="L3H0")
    refused("this model has layers 0 to 2", images, layers="last:4")
    refused("no head is left", images, layers="0", heads="L1H1")
    refused("masks foreground: .*images has none", images, masks="foreground")
    refused("has masks/: give --masks foreground")
    refused("give --masks too", images, classes="cat")
    refused("leave out", masks="foreground", root="x")
    refused("expected at most 4,000,000", images, text=tuple(map(str, range(500_000))))
    empty = tmp_path / "broken"
    empty.mkdir()
    (empty / "x.png").write_bytes(b"broken")
    with pytest.raises(RunFailed, match="none of 1 picture could be used"):
        map_statistics.run(config(empty, warehouse))


def test_parts_that_nobody_goes_on_with_are_collected_after_a_week(warehouse: Path) -> None:
    stored = Warehouse(warehouse).scan("s")
    for name, days in (("old", 8), ("young", 6)):
        part = stored.unfinished / name / "part-00000000.parquet"
        part.parent.mkdir(parents=True)
        part.write_bytes(b"123")
        for path in (part, part.parent):
            os.utime(path, (time.time() - days * 86400,) * 2)
    swept = gc.run(GcConfig(warehouse=warehouse)).swept
    assert (swept.files, swept.bytes) == (1, 3)
    assert [f.name for f in stored.unfinished.iterdir()] == ["young"]
