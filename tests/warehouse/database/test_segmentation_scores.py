"""`segmentation_scores`: what a run of segment leaves in the database, and looking after it."""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from jobs.cli import program
from jobs.commands import gc, segment, verify
from jobs.commands.gc import GcConfig
from jobs.commands.segment import SegmentConfig
from jobs.commands.verify import VerifyConfig
from schemas.errors import CorruptStore
from tests.synthetic import Shape, write_scan
from warehouse.database.publish import publish
from warehouse.database.query import query
from warehouse.files.atomic import TEMPORARY
from warehouse.files.layout import Warehouse
from warehouse.results import segmentation

SCORES = "FROM segmentation_scores ORDER BY run, method"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return four pictures of noise with a square in the mask, one of them broken."""
    root, rng = tmp_path_factory.mktemp("masks") / "squares", np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for i in range(4):
        noise = rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / "images" / f"{i}.png")
        mask = np.zeros((40, 40), dtype=np.uint8)
        mask[5:20, 10:30] = 255
        Image.fromarray(mask).save(root / "masks" / f"{i}.png")
    (root / "images" / "3.png").write_bytes(b"broken")
    return root


def arguments(data: Path, tiny_config: Path, folder: Path, **options: str) -> list[str]:
    given = {
        "model": str(tiny_config),
        "pretrained": "none",
        "classes": "cat,dog",
        "methods": "tokens,contribution",
        "examples": "0",
        "workers": "0",
        "output": str(folder / "out"),
        "warehouse": str(folder / "w"),
        **options,
    }
    return ["segment", str(data), *(t for k, v in given.items() for t in (f"--{k}", v))]


def run(data: Path, tiny_config: Path, folder: Path, **options: str) -> str:
    done = CliRunner().invoke(program(["segment"]), arguments(data, tiny_config, folder, **options))
    assert done.exit_code == 0, done.output
    return done.output


def test_segment_publishes_one_row_per_method_also_without_a_scan(
    data: Path, tiny_config: Path, tmp_path: Path
) -> None:
    said = run(data, tiny_config, tmp_path)
    assert "published version 1" in said
    warehouse = Warehouse(tmp_path / "w")
    rows = query(warehouse, SCORES).to_pylist()
    assert [row["method"] for row in rows] == ["contribution", "tokens"]
    (name,) = {row["run"] for row in rows}
    assert name in said and name.startswith("squares--tiny--aligned-predicted--")
    stored = {
        row["method"]: row for row in pq.read_table(tmp_path / "out/scores.parquet").to_pylist()
    }
    for row in rows:
        assert row.pop("created_at") is not None
        assert row.pop("stale") is False
        assert row == stored[row["method"]]
        assert (row["model"], row["pretrained"], row["scan_id"]) == ("tiny", "none", None)
        assert (row["images"], row["rejects"], row["device"]) == (3, 1, "cpu")
        assert row["milliseconds"] > 0 and row["peak_mb"] >= 0

    # the same options replace their run, others are a run of their own
    (path,) = segmentation.runs(warehouse)
    provenance = segmentation.checked(path)
    assert provenance["model"] == str(tiny_config)
    assert provenance["options"]["methods"] == "tokens,contribution"
    run(data, tiny_config, tmp_path)
    other = {"output": str(tmp_path / "other"), "protocol": "reference", "background": "0.3"}
    run(data, tiny_config, tmp_path, **other)
    found = query(
        warehouse,
        "SELECT protocol, background, count(*) FROM segmentation_scores GROUP BY ALL ORDER BY 1",
    )
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        ("aligned", None, 2),
        ("reference", 0.3, 2),
    ]


def test_the_model_of_a_scan_is_named_and_no_publish_publishes_nothing(
    data: Path, scanned: Path, tmp_path: Path
) -> None:
    shutil.copytree(scanned, tmp_path / "w")
    options = SegmentConfig(
        data=data, classes=("cat", "dog"), methods="tokens", examples=0, workers=0,
        output=tmp_path / "out", warehouse=tmp_path / "w",
    )  # fmt: skip
    done = segment.run(options)
    warehouse = Warehouse(tmp_path / "w")
    assert not warehouse.database.exists()
    publish(warehouse)
    (row,) = query(warehouse, SCORES).to_pylist()
    assert (row["scan_id"], row["model"], row["run"]) == ("s", "tiny", done.run)
    joined = "SELECT n_heads FROM segmentation_scores JOIN scans USING (scan_id)"
    assert query(warehouse, joined).to_pylist() == [{"n_heads": 3}]


def test_verify_and_publish_name_a_run_that_is_not_as_written(tmp_path: Path) -> None:
    write_scan(tmp_path, pictures=4, shape=Shape(layers=(2,)))
    warehouse = Warehouse(tmp_path)
    check = VerifyConfig(warehouse=tmp_path)
    assert verify.check(check).shared == ()
    publish(warehouse)

    heads = pq.read_table(warehouse.scan("scan").heads)
    segmentation.write_run(warehouse, "odd", heads, {"created_at": "2026-01-01T00:00:00+00:00"})
    (warehouse.segmentation / "torn.parquet").write_bytes(b"PAR1")
    first, second = verify.check(check).shared
    assert first.file == "segmentation/odd.parquet" and "another run, scan_id" in first.problem
    assert second.file == "segmentation/torn.parquet" and "cannot be read" in second.problem
    with pytest.raises(CorruptStore, match="run headatlas segment again"):
        publish(warehouse)
    done = CliRunner().invoke(program(["verify"]), ["verify", "--warehouse", str(tmp_path)])
    assert done.exit_code == 1 and "segmentation/odd.parquet" in done.output


def test_gc_deletes_what_killed_runs_half_wrote_and_nothing_else(tmp_path: Path) -> None:
    scan = write_scan(tmp_path, pictures=4, shape=Shape(layers=(2,)))
    warehouse = Warehouse(tmp_path)
    old = [warehouse.segmentation / f"{TEMPORARY}a", scan.heads.parent / f"{TEMPORARY}b"]
    young = warehouse.segmentation / f"{TEMPORARY}c"
    warehouse.segmentation.mkdir()
    kept = warehouse.segmentation / "run.parquet"
    for path in (*old, young, kept):
        path.write_bytes(b"12345")
    for path in (*old, kept):
        os.utime(path, (time.time() - 2 * 86400,) * 2)
    swept = gc.run(GcConfig(warehouse=tmp_path)).swept
    assert (swept.files, swept.bytes) == (2, 10)
    assert not any(path.exists() for path in old)
    assert young.exists() and kept.exists() and scan.heads.exists()
