"""Digests of what a snapshot holds: the same for the same pictures, whatever their shards."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import CorruptStore, NewerFormat
from schemas.manifest import Snapshot
from tests.store import changes_nothing, member, merge_moments, new_scan, refresh
from warehouse.files.layout import ScanDir
from warehouse.store import snapshots
from warehouse.store.content import NOTHING, Content, content, content_of, total
from warehouse.store.reading import read_images
from warehouse.store.rewrite import compact
from warehouse.store.shards import MANIFEST, load_manifest

pictures = st.dictionaries(
    st.integers(0, 2**40),
    st.tuples(st.text(max_size=4), st.none() | st.text(max_size=3), st.text(max_size=3)),
    max_size=12,
)


def rows(of: dict[int, tuple[str, str | None, str]], order: list[int] | None = None) -> pa.Table:
    ids = list(of) if order is None else order
    return pa.table(
        {
            "image_id": pa.array(ids, pa.int64()),
            "fingerprint": pa.array([of[i][0] for i in ids], pa.string()),
            "label": pa.array([of[i][1] for i in ids], pa.string()),
            "metadata": pa.array([of[i][2] for i in ids], pa.string()),
        }
    )


@given(of=pictures, data=st.data())
def test_order_and_shards_change_no_digest(of, data) -> None:
    whole = content_of(rows(of))
    order = data.draw(st.permutations(list(of)))
    assert content_of(rows(of, order)) == whole
    cut = data.draw(st.integers(0, len(of)))
    parts = [content_of(rows(of, order[:cut])), content_of(rows(of, order[cut:]))]
    assert total(parts) == total(reversed(parts)) == whole


@given(of=pictures.filter(bool), data=st.data())
def test_each_digest_changes_with_its_own_columns(of, data) -> None:
    whole = content_of(rows(of))
    at = data.draw(st.sampled_from(sorted(of)))
    mark, label, metadata = of[at]
    changed = {
        "bytes": {**of, at: (mark + "x", label, metadata)},
        "label": {**of, at: (mark, (label or "") + "x", metadata)},
        "metadata": {**of, at: (mark, label, metadata + "x")},
        "gone": {i: row for i, row in of.items() if i != at},
        "moved": {i if i != at else 2**41: row for i, row in of.items()},
    }
    differs = {
        what: (found.pictures != whole.pictures, found.labels != whole.labels)
        for what, table in changed.items()
        for found in [content_of(rows(table))]
    }
    assert differs == {
        "bytes": (True, False),
        "label": (False, True),
        "metadata": (False, True),
        "gone": (True, True),
        "moved": (True, True),
    }


def test_no_label_is_not_the_empty_label() -> None:
    assert content_of(rows({1: ("f", None, "{}")})) != content_of(rows({1: ("f", "", "{}")}))
    assert content_of(rows({})) == NOTHING


def said(snapshot: Snapshot) -> Content:
    assert snapshot.pictures_digest is not None and snapshot.labels_digest is not None
    return Content(snapshot.pictures_digest, snapshot.labels_digest)


def held(scan: ScanDir, snapshot: Snapshot) -> Content:
    return content_of(read_images(scan, [live.shard for live in snapshot.shards]))


def test_snapshots_say_the_digests_of_the_rows_they_hold(tmp_path: Path) -> None:
    scan = new_scan(tmp_path)
    first = refresh(scan, [member(k) for k in range(9)])[1]
    compacted = compact(scan, 100, merge_moments)
    assert compacted is not None and compacted.number > first.number
    assert said(first) == said(compacted) == held(scan, compacted)

    relabelled = refresh(scan, [member(k, label="a") for k in range(9)])[1]
    assert said(relabelled).pictures == said(first).pictures
    assert said(relabelled).labels != said(first).labels
    assert said(relabelled) == held(scan, relabelled)

    fewer = refresh(scan, [member(k, label="a") for k in range(8)])[1]
    more = refresh(scan, [member(k, label="a") for k in range(12)])[1]
    back = refresh(scan, [member(k, label="a") for k in range(8)])[1]
    changed = refresh(scan, [member(k, 1, "a") for k in range(8)])[1]
    assert said(back) == said(fewer)
    assert len({said(s).pictures for s in (relabelled, fewer, more, changed)}) == 4


def test_a_commit_reads_no_image_rows_of_live_shards(tmp_path: Path) -> None:
    scan = new_scan(tmp_path)
    before = refresh(scan, [member(k) for k in range(10)])[1]
    shards = [live.shard for live in before.shards]
    for shard in shards:
        (scan.shard(shard) / "images.parquet").unlink()
    again = snapshots.commit(
        scan,
        [load_manifest(scan, shard) for shard in shards],
        fingerprint=before.fingerprint,
        next_image_id=before.next_image_id,
    )
    assert said(again) == said(before)


def to_format_1(scan: ScanDir, number: int) -> None:
    """Rewrite a snapshot as versions before digests wrote it."""
    document = json.loads(scan.snapshot(number).read_text())
    document["format"] = 1
    for part in (document, *document["shards"]):
        del part["pictures_digest"], part["labels_digest"]
    scan.snapshot(number).write_text(json.dumps(document))


def test_format_1_is_read_and_its_digests_are_stored_by_the_next_commit(tmp_path: Path) -> None:
    scan = new_scan(tmp_path)
    members = [member(k) for k in range(9)]
    first = refresh(scan, members)[1]
    to_format_1(scan, first.number)
    old = snapshots.load(scan, first.number)
    assert (old.format, old.pictures_digest) == (1, None)
    assert content(scan, old) == said(first)
    assert changes_nothing(refresh(scan, members)[0])

    grown = refresh(scan, [*members, member(9)])[1]
    assert grown.format == 2 and said(grown) == held(scan, grown)
    for shard in [live.shard for live in grown.shards]:
        (scan.shard(shard) / "images.parquet").unlink()
    assert content(scan, snapshots.load(scan, grown.number)) == said(grown)


@pytest.mark.parametrize("which", ["snapshot", "scan.json", "manifest"])
def test_a_newer_format_is_refused_by_its_number(tmp_path: Path, which: str) -> None:
    scan = new_scan(tmp_path)
    snapshot = refresh(scan, [member(0)])[1]
    path, newest = {
        "snapshot": (scan.snapshot(snapshot.number), 2),
        "scan.json": (scan.record, 1),
        "manifest": (scan.shard(snapshot.shards[0].shard) / MANIFEST, 1),
    }[which]
    document = {**json.loads(path.read_text()), "format": 99, "of the future": {"a": 1}}
    path.write_text(json.dumps(document))
    with pytest.raises(
        NewerFormat, match=f"newer version, in format 99; this one reads up to {newest}"
    ):
        load_manifest(scan, snapshot.shards[0].shard)
        scan.load_record()
        snapshots.latest(scan)


def test_a_snapshot_without_digests_is_damaged(tmp_path: Path) -> None:
    scan = new_scan(tmp_path)
    snapshot = refresh(scan, [member(0)])[1]
    document = json.loads(scan.snapshot(snapshot.number).read_text())
    del document["shards"][0]["labels_digest"]
    scan.snapshot(snapshot.number).write_text(json.dumps(document))
    with pytest.raises(CorruptStore, match="lacks a digest"):
        snapshots.latest(scan)
