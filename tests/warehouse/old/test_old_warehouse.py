"""A warehouse that commit 4aa3376 wrote (`make.py` here): read, gone on from, and asked."""

import shutil
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.commands import scan, textspan, verify
from jobs.commands.roles import build as roles
from jobs.commands.roles.build import RolesConfig
from jobs.commands.scan import ScanConfig
from jobs.commands.textspan import TextSpanConfig
from jobs.commands.verify import VerifyConfig
from jobs.steps.opened import open_scan
from jobs.steps.summary import store_heads
from pipeline.heads.merging import merge_tables
from schemas.files import CONTRIBUTIONS
from warehouse.database.publish import publish
from warehouse.database.query import query
from warehouse.files.layout import Warehouse
from warehouse.results.claims import OLDER
from warehouse.store.gc import collect
from warehouse.store.rewrite import compact
from warehouse.store.zero_shot import zero_shot_of

PICTURES = 14


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Unpack it: pictures, model.json, model.safetensors and warehouse, elsewhere than made."""
    with tarfile.open(Path(__file__).parent / "published.tar.xz") as archive:
        if hasattr(tarfile, "data_filter"):
            # Python 3.11 has it from its fourth release on
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(tmp_path)
    return tmp_path


def contributions(warehouse: Warehouse) -> list[dict[str, object]]:
    publish(warehouse)
    return query(
        warehouse,
        "SELECT key, layer, head, vector FROM contributions JOIN images USING (scan_id, image_id) "
        "ORDER BY ALL",
    ).to_pylist()


def scan_again(old: Path) -> scan.ScanResult:
    values = {
        "source": str(old / "pictures"),
        "model": str(old / "model.json"),
        "pretrained": str(old / "model.safetensors"),
        "warehouse": old / "warehouse",
        "scan": "s",
        "labels": "folder",
        "shard_size": 4,
        "workers": 0,
    }
    return scan.run(ScanConfig.checked(values))


def test_a_scan_goes_on_and_computes_no_shard_again(old: Path) -> None:
    warehouse = Warehouse(old / "warehouse")
    folder = warehouse.scan("s")
    stored = {p.read_bytes() for p in folder.shards.rglob(CONTRIBUTIONS)}
    before = contributions(warehouse)
    assert len(before) == PICTURES * 4
    assert scan_again(old).scanned == 0
    assert contributions(warehouse) == before

    # a picture more is one shard more; those there are linked under the folder that is theirs now
    shutil.copy(old / "pictures" / "red" / "00.png", old / "pictures" / "blue" / "new.png")
    done = scan_again(old)
    # what is reused are the pictures and the one that could not be read
    assert (done.scanned, done.reused, done.images, done.rejects) == (1, 15, 15, 1)
    newest = open_scan(warehouse, "s")
    assert newest.snapshot.format == 2 and newest.record.format == 1
    live = {p.read_bytes() for s in newest.shards for p in folder.shard(s).rglob(CONTRIBUTIONS)}
    assert len(live - stored) == 2  # of the new picture, one a layer
    after = contributions(warehouse)
    assert [row for row in after if row["key"] != "blue/new.png"] == before
    uris = newest.images(["uri"])["uri"].to_pylist()
    assert all(uri.startswith(str(old / "pictures")) for uri in uris)
    assert verify.check(VerifyConfig(warehouse=warehouse.root)).problems == ()
    assert len(newest.moments) > 0 and newest.moments["head", 0, 0].n == 15


def test_it_is_verified_and_published_and_its_results_are_said_to_be_older(old: Path) -> None:
    warehouse = Warehouse(old / "warehouse")
    assert verify.check(VerifyConfig(warehouse=warehouse.root)).problems == ()
    done = publish(warehouse)
    assert done.version == 2 and set(done.why.values()) == {OLDER}
    for sql, rows in (
        ("FROM textspan", 16),
        ("FROM head_roles", 4),
        ("FROM heads", 4),
        ("FROM images", PICTURES),
    ):
        assert query(warehouse, sql).num_rows == rows, sql
    found = open_scan(warehouse, None)
    number = zero_shot_of(found.scan, found.record, found.snapshot)
    assert number is not None and number["accuracy"] == pytest.approx(9 / PICTURES, abs=1e-4)


def test_results_are_made_again_from_what_is_stored(old: Path) -> None:
    """Its own TextSpan and ours find the same; no picture and no model is read."""
    warehouse = Warehouse(old / "warehouse")
    shutil.rmtree(old / "pictures")
    (old / "model.safetensors").unlink()
    found = open_scan(warehouse, "s")
    basis = found.scan.textspan / "small.parquet"
    was = pq.read_table(basis)
    textspan.run(TextSpanConfig(warehouse=warehouse.root, pool="small", m=4))
    now = pq.read_table(basis)
    for column in ("layer", "head", "rank", "description_id", "text"):
        assert now[column].equals(was[column]), column
    for one, other in zip(now["variance"].to_pylist(), was["variance"].to_pylist(), strict=True):
        assert one == pytest.approx(other, rel=1e-9)
    store_heads(found.scan, found.snapshot)
    roles.run(RolesConfig(warehouse=warehouse.root, turns=8, permutations=100))
    stale = publish(warehouse).stale
    assert not {f"s/{kind}/small" for kind in ("textspan", "roles")} & set(stale)
    assert not [label for label in stale if "attributes" in label or "heads/" in label]


def test_its_shards_are_merged_and_collected(old: Path) -> None:
    warehouse = Warehouse(old / "warehouse")
    before, folder = contributions(warehouse), warehouse.scan("s")
    moments = open_scan(warehouse, "s").moments["head", 1, 1]
    compacted = compact(folder, 100, merge_tables)
    assert compacted is not None and len(compacted.shards) == 1
    assert contributions(warehouse) == before
    found = open_scan(warehouse, "s").moments["head", 1, 1]
    assert found.m2 == pytest.approx(moments.m2, abs=1e-12)
    publish(warehouse, keep=1)
    assert len(collect(warehouse, "s", keep_snapshots=1).shards) == 5
    assert verify.check(VerifyConfig(warehouse=warehouse.root)).problems == ()
