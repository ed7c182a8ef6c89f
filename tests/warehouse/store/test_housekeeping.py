"""Small shards are merged when they are too many, and nights stay bounded."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.heads.merging import merge_tables
from schemas.files import moments_schema
from schemas.manifest import LiveShard, Snapshot, Timing
from schemas.members import Member
from tests.store import (
    D_HEAD,
    member,
    merge_moments,
    moments_row,
    new_scan,
    payload,
    plan,
    refresh,
)
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.store import gc, snapshots
from warehouse.store.housekeeping import FEW, compaction_due
from warehouse.store.reading import iterate_moments
from warehouse.store.rewrite import compact
from warehouse.store.shards import write_shard
from warehouse.store.verify import verify


def holding(*rows: int) -> Snapshot:
    live = tuple(
        LiveShard(
            shard=f"s{i}",
            rows=n,
            rejects=0,
            manifest_sha256="",
            pictures_digest="0",
            labels_digest="0",
        )
        for i, n in enumerate(rows)
    )
    return Snapshot(
        number=1,
        created_at="",
        fingerprint="",
        shards=live,
        next_image_id=0,
        images=sum(rows),
        rejects=0,
        pictures_digest="0",
        labels_digest="0",
    )


def test_compaction_is_due_when_small_shards_exceed_a_share_and_a_few() -> None:
    assert not compaction_due(holding(*[100] * 200), 100)
    assert not compaction_due(holding(*[10] * FEW), 100)
    assert compaction_due(holding(*[10] * (FEW + 1)), 100)
    assert not compaction_due(holding(*[100] * 300, *[10] * 90), 100)
    assert compaction_due(holding(*[100] * 300, *[10] * 110), 100)
    assert compaction_due(holding(*[100] * 300, *[10] * 90), 100, share=0.1)


def test_what_was_due_is_not_due_after_compaction(tmp_path: Path) -> None:
    scan = new_scan(tmp_path)
    _, snapshot = refresh(scan, [member(k) for k in range(FEW + 2)], shard_size=1)
    assert compaction_due(snapshot, 10)
    compact(scan, 10, merge_moments)
    newest = snapshots.latest(scan)
    assert newest is not None and not compaction_due(newest, 10)


def scanned_with_bias(scan: ScanDir, listing: Sequence[Member]) -> None:
    """Scan in shards of two, with moments of a component that no picture has rows of."""
    todo = plan(scan, listing, shard_size=2)
    manifests = []
    for task in todo.scans:
        given = payload(task.members, task.image_ids, mlp=False)
        row = moments_row(1, -1, len(task.members), np.zeros(D_HEAD), np.eye(D_HEAD))
        bias = pa.Table.from_pylist([{**row, "component": "bias"}], schema=moments_schema())
        manifests.append(
            write_shard(
                scan,
                task.shard,
                replace(given, moments=pa.concat_tables([given.moments, bias])),
                fingerprint=scan.load_record().fingerprint(),
                members_sha256=task.members_sha256,
                base_snapshot=task.base_snapshot,
                device="none",
                timing=Timing(),
            )
        )
    snapshots.commit(scan, manifests, fingerprint=scan.load_record().fingerprint(), next_image_id=9)


def test_a_merged_shard_has_moments_of_all_its_pictures_or_none(tmp_path: Path) -> None:
    listing = [member(key) for key in range(4)]
    counted = {}
    for name, kept in (("whole", listing), ("copied", listing[1:])):
        scan = new_scan(tmp_path / name, stored=("head",))
        scanned_with_bias(scan, listing)
        refresh(scan, kept, shard_size=2)  # what vanished makes its shard a copy
        merged = compact(scan, 10, merge_tables)
        assert merged is not None and len(merged.shards) == 1
        assert verify(scan).problems == ()
        (table,) = iterate_moments(scan, [merged.shards[0].shard])
        assert set(table["n"].to_pylist()) == {len(kept)}
        counted[name] = set(table["component"].to_pylist())
    assert counted == {"whole": {"head", "bias"}, "copied": {"head"}}


def test_nights_with_housekeeping_lose_nothing_and_keep_few_shards(tmp_path: Path) -> None:
    scan = new_scan(tmp_path, stored=("head",))
    for night in range(25):
        # five new, one changed and two that vanish
        listing = [
            member(key, version=int(key % 25 == night)) for key in range(2 * night, 60 + 5 * night)
        ]
        _, snapshot = refresh(scan, listing, shard_size=20)
        if compaction_due(snapshot, 20):
            compact(scan, 20, merge_moments)
        gc.collect(Warehouse(tmp_path), scan.name, keep_snapshots=2)
        newest = snapshots.latest(scan)
        assert newest is not None and newest.images == len(listing)
        assert sum(2 * live.rows < 20 for live in newest.shards) <= FEW
        assert len(snapshots.numbers(scan)) <= 2
    assert verify(scan).problems == ()
