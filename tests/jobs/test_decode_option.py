"""How pictures are decoded belongs to the scan: a rerun keeps to it, another choice is refused."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.commands import scan
from schemas.errors import StaleScan
from schemas.manifest import ScanRecord
from tests.conftest import scan_config
from tests.hostile import encoded, scene
from warehouse.files.layout import Warehouse


def run(pictures: Path, tiny: Path, root: Path, **options: object) -> scan.ScanResult:
    fixed = {"source": str(pictures), "path_column": None, "labels": None, "workers": 0}
    return scan.run(scan_config(pictures, tiny, root, **{**fixed, **options}))


def record_of(root: Path) -> ScanRecord:
    return Warehouse(root).scan("s").load_record()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(4):
        (folder / f"{i}.jpg").write_bytes(encoded(scene(900, 700, seed=i), "JPEG"))
    return folder


def test_a_new_scan_says_how_and_a_rerun_keeps_to_it(
    pictures: Path, tiny_config: Path, tmp_path: Path
) -> None:
    root = tmp_path / "w"
    run(pictures, tiny_config, root)
    made = record_of(root)
    how = made.model.preprocessing
    assert (how.decode, how.transparent) == ("scaled", "white")
    assert run(pictures, tiny_config, root).scanned == 0
    with pytest.raises(StaleScan, match=r"decode \(scaled there, exact now\)"):
        run(pictures, tiny_config, root, decode="exact")
    run(pictures, tiny_config, root, decode="exact", restart=True)
    assert record_of(root).model.preprocessing.decode == "exact"
    assert run(pictures, tiny_config, root).scanned == 0
    (images, *_) = root.glob("scans/s/shards/*/images.parquet")
    assert set(pq.read_table(images)["width"].to_pylist()) == {900}


def test_a_scan_from_before_keeps_its_pixels_and_computes_nothing_again(
    pictures: Path, tiny_config: Path, tmp_path: Path
) -> None:
    root = tmp_path / "w"
    run(pictures, tiny_config, root, decode="exact")
    folder = Warehouse(root).scan("s")
    new = folder.load_record()
    # the record as it was written before there was a choice, and shards under its fingerprint
    old = new.model.preprocessing.model_copy(update={"transparent": "dropped"})
    before = new.model_copy(update={"model": new.model.model_copy(update={"preprocessing": old})})
    assert before.fingerprint() != new.fingerprint()
    root_old = tmp_path / "old"
    folder_old = Warehouse(root_old).create_scan("s")
    folder_old.frames.write_bytes(folder.frames.read_bytes())
    folder_old.save_record(before)
    done = run(pictures, tiny_config, root_old)
    assert done.scanned == 4
    assert run(pictures, tiny_config, root_old).scanned == 0
    kept = record_of(root_old)
    assert kept.fingerprint() == before.fingerprint()
    assert kept.model.preprocessing == old
