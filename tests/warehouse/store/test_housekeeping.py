"""Small shards are merged when they are too many, and nights stay bounded."""

from pathlib import Path

from benchmarks import nights
from schemas.manifest import LiveShard, Snapshot
from tests.store import member, merge_moments, new_scan, refresh
from warehouse.files.layout import Warehouse
from warehouse.store import snapshots
from warehouse.store.housekeeping import FEW, compaction_due
from warehouse.store.rewrite import compact


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


def test_nights_with_housekeeping_lose_nothing_and_keep_few_shards(tmp_path: Path) -> None:
    rows = {row.name: row for row in nights.run(tmp_path, nights=25)}
    assert rows["problems at the end, by verify"].value == 0
    newest = snapshots.latest(Warehouse(tmp_path).scan("scan"))
    assert newest is not None
    assert newest.images == nights.START + 25 * (nights.NEW - nights.VANISHED)
    assert sum(2 * live.rows < nights.SHARD for live in newest.shards) <= FEW
