"""Refreshes on disk: what is stored follows the listing, and nothing is computed twice."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import CorruptStore, Locked, StoreError
from schemas.manifest import Snapshot
from schemas.members import Member
from tests.store import (
    LAYERS,
    N_HEADS,
    changes_nothing,
    member,
    merge_moments,
    moments_of,
    new_scan,
    numbers,
    plan,
    refresh,
    work,
)
from warehouse.files.layout import ScanDir
from warehouse.files.lock import scan_lock
from warehouse.results.files import read_result
from warehouse.store import snapshots
from warehouse.store.reading import iterate_moments, read_head, read_images, read_mlp, read_rejects
from warehouse.store.rewrite import compact
from warehouse.store.shards import contributions_path
from warehouse.store.verify import verify


@pytest.fixture
def scan(tmp_path: Path) -> ScanDir:
    return new_scan(tmp_path)


def live(scan: ScanDir) -> list[str]:
    snapshot = snapshots.latest(scan)
    assert snapshot is not None
    return [shard.shard for shard in snapshot.shards]


def stored_ids(scan: ScanDir) -> dict[str, int]:
    images = read_images(scan, live(scan), ["key", "image_id"])
    return dict(zip(images["key"].to_pylist(), images["image_id"].to_pylist(), strict=True))


def assert_holds(scan: ScanDir, listing: list[Member], bad: set[str] = frozenset()) -> None:
    """Every file holds what the listing alone says, and the store verifies."""
    assert verify(scan).problems == ()
    shards = live(scan)
    good = {m.key: m for m in listing if m.key not in bad}
    images = read_images(scan, shards)
    rows = images.drop_columns(["embedding"]).to_pylist() if shards else []
    assert {r["key"]: (r["uri"], r["label"], r["metadata"], r["fingerprint"]) for r in rows} == {
        m.key: (m.uri, m.label, m.metadata, m.fingerprint) for m in good.values()
    }
    rejected = {m.key for m in listing if m.key in bad}
    assert set(read_rejects(scan, shards)["key"].to_pylist()) == rejected
    if shards:
        table, provenance = read_result(scan.rejects)
        assert set(table["key"].to_pylist()) == rejected
        assert provenance["snapshot"] == snapshots.numbers(scan)[-1]
    if not rows:
        return
    ordered = [good[r["key"]] for r in rows]
    contributions, embedding, mlp = numbers(ordered)
    assert np.array_equal(
        np.concatenate([c.flatten().to_numpy() for c in images["embedding"].chunks]),
        embedding.reshape(-1),
    )
    for layer in LAYERS:
        for head in range(N_HEADS):
            ids, vectors = read_head(scan, shards, layer, head)
            assert ids.tolist() == [r["image_id"] for r in rows]
            assert np.array_equal(vectors, contributions[layer][head])
        filled = [s for s in shards if (scan.shard(s) / contributions_path(layer)).is_file()]
        assert np.array_equal(
            np.concatenate([read_mlp(scan, s, layer) for s in filled]), mlp[layer]
        )
    whole = moments_of(contributions, embedding, mlp).to_pylist()
    merged = merge_moments(iterate_moments(scan, shards)).to_pylist()
    for got, expected in zip(merged, whole, strict=True):
        assert got["n"] == expected["n"]
        assert np.allclose(got["mean"], expected["mean"])
        assert np.allclose(got["m2"], expected["m2"])


listings = st.dictionaries(
    st.integers(0, 12), st.tuples(st.integers(0, 1), st.sampled_from([None, "a"])), max_size=12
)
histories = st.lists(
    st.tuples(listings, st.none() | st.sets(st.integers(0, 3)), st.booleans(), st.integers(2, 5)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=25, deadline=None)
@given(history=histories, bad=st.sets(st.integers(0, 12), max_size=3))
def test_any_history_ends_with_files_that_hold_the_listing(tmp_path_factory, history, bad) -> None:
    scan = new_scan(tmp_path_factory.mktemp("w"))
    refused = {member(k).key for k in bad}
    before: dict[tuple[str, str], int] = {}
    for listed, cut, compacted, size in history:
        listing = [member(k, v, label) for k, (v, label) in sorted(listed.items())]
        if cut is not None:
            for at, task in enumerate(plan(scan, listing, size).scans):
                if at in cut:
                    work(scan, task, refused)
            continue
        refresh(scan, listing, refused, size)
        if compacted:
            compact(scan, 6, merge_moments)
        if not listing and snapshots.latest(scan) is None:
            continue
        assert_holds(scan, listing, refused)
        ids = stored_ids(scan)
        now = {(m.key, m.fingerprint): ids[m.key] for m in listing if m.key in ids}
        assert {k: i for k, i in before.items() if k in now} == {
            k: i for k, i in now.items() if k in before
        }
        before = now
        assert changes_nothing(refresh(scan, listing, refused, size)[0])


def test_new_labels_alone_link_the_contributions(scan: ScanDir) -> None:
    refresh(scan, [member(k) for k in range(7)])
    before = live(scan)
    todo, _ = refresh(scan, [member(k, label="b" if k == 1 else None) for k in range(7)])
    assert (len(todo.copies), todo.scans, todo.relabelled) == (1, (), 1)
    (copied,) = set(live(scan)) - set(before)
    source = todo.copies[0].source
    for layer in LAYERS:
        name = contributions_path(layer)
        assert (scan.shard(copied) / name).samefile(scan.shard(source) / name)
    listing = [member(k, label="b" if k == 1 else None) for k in range(7)]
    assert_holds(scan, listing)


def test_only_new_and_changed_pictures_are_scanned(scan: ScanDir) -> None:
    refresh(scan, [member(k) for k in range(10)], {"004.png"})
    ids = stored_ids(scan)
    listing = [member(k, version=int(k == 2)) for k in (*range(1, 10), 20)]
    todo, _ = refresh(scan, listing, {"004.png"})
    assert sorted(m.key for t in todo.scans for m in t.members) == ["002.png", "020.png"]
    assert_holds(scan, listing, {"004.png"})
    after = stored_ids(scan)
    same = set(ids) & set(after) - {"002.png"}
    assert {k: ids[k] for k in same} == {k: after[k] for k in same}
    assert min(after["002.png"], after["020.png"]) > max(ids.values())


def test_a_copy_of_a_damaged_shard_is_refused(scan: ScanDir) -> None:
    refresh(scan, [member(k) for k in range(5)])
    path = scan.shard(live(scan)[0]) / contributions_path(1)
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptStore, match="verify"):
        refresh(scan, [member(k) for k in range(4)])


def test_readers_of_an_older_snapshot_are_not_disturbed(scan: ScanDir) -> None:
    _, older = refresh(scan, [member(k) for k in range(8)])
    before = read_head(scan, [s.shard for s in older.shards], 1, 2)
    refresh(scan, [member(k, version=1) for k in range(3, 9)])
    after = read_head(scan, [s.shard for s in older.shards], 1, 2)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_two_writers_cannot_commit_against_one_snapshot(scan: ScanDir) -> None:
    refresh(scan, [member(k) for k in range(4)])
    todo = plan(scan, [member(k) for k in range(6)])
    manifests = [work(scan, task) for task in todo.scans]
    _, winner = refresh(scan, [member(k) for k in range(5)])
    with pytest.raises(StoreError, match=f"committed snapshot {winner.number}.*run the same"):
        commit(scan, manifests, todo.base_snapshot)
    assert snapshots.latest(scan) == winner


def commit(scan: ScanDir, manifests: list, base: int) -> Snapshot:
    fingerprint = scan.load_record().fingerprint()
    return snapshots.commit(
        scan, manifests, fingerprint=fingerprint, next_image_id=9, base_snapshot=base
    )


def test_shards_that_share_an_id_or_are_not_whole_are_not_committed(scan: ScanDir) -> None:
    first = [work(scan, task) for task in plan(scan, [member(k) for k in range(4)]).scans]
    empty = new_scan(scan.path.parent.parent, "empty")
    other = [work(scan, task) for task in plan(empty, [member(k) for k in (8, 9)]).scans]
    with pytest.raises(StoreError, match="share an image_id"):
        commit(scan, first + other, 0)
    (scan.shard(first[0].shard) / "manifest.json").unlink()
    with pytest.raises(StoreError, match="not whole"):
        commit(scan, first, 0)
    assert snapshots.latest(scan) is None


def test_compaction_keeps_rows_and_ids_and_leaves_large_shards_alone(scan: ScanDir) -> None:
    refresh(scan, [member(k) for k in range(8)], {"010.png"}, shard_size=8)
    (full,) = live(scan)
    for night in range(9, 14):
        refresh(scan, [member(k) for k in range(night)], {"010.png"})
    ids, shards = stored_ids(scan), live(scan)
    snapshot = compact(scan, 8, merge_moments)
    assert snapshot is not None
    assert len(live(scan)) == 2
    assert set(live(scan)) & set(shards) == {full}
    assert stored_ids(scan) == ids
    assert_holds(scan, [member(k) for k in range(13)], {"010.png"})
    assert compact(scan, 8, merge_moments) == snapshot


def test_compaction_waits_for_an_interrupted_run_to_be_finished(scan: ScanDir) -> None:
    for night in range(1, 4):
        refresh(scan, [member(k) for k in range(night)])
    listing = [member(k) for k in range(12)]
    work(scan, plan(scan, listing).scans[0])
    with pytest.raises(StoreError, match=r"interrupted run .* run the same scan again"):
        compact(scan, 8, merge_moments)
    with scan_lock(scan), pytest.raises(Locked, match="being written by process"):
        compact(scan, 8, merge_moments)


def test_statistics_of_copies_hold_too(scan: ScanDir) -> None:
    refresh(scan, [member(k) for k in range(5)])
    refresh(scan, [member(k) for k in (0, 2, 4)])
    (shard,) = live(scan)
    file = pq.ParquetFile(scan.shard(shard) / contributions_path(3))
    assert file.num_row_groups == N_HEADS
