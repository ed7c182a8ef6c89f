"""Moments merged over a snapshot's shards: the same numbers, and no old shard read again."""

import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.files import MOMENTS
from schemas.manifest import LiveShard, Snapshot
from tests.store import member, merge_moments, moments_of, new_scan, numbers, refresh
from warehouse.files.atomic import write_table
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.store import snapshots
from warehouse.store.gc import collect
from warehouse.store.merged import Node, blocks, files, merged_moments, tree
from warehouse.store.reading import read_file
from warehouse.store.rewrite import compact

# shards' digests differ from run to run: a path is log2 of the shards, rarely twice as long
LOG = 20


def assert_is_the_whole(scan: ScanDir, table: pa.Table, members) -> None:
    expected = moments_of(*numbers(members)).to_pylist()
    got = table.to_pylist()
    assert [(r["layer"], r["head"], r["n"]) for r in got] == [
        (r["layer"], r["head"], r["n"]) for r in expected
    ]
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a["mean"], b["mean"], atol=1e-12)
        np.testing.assert_allclose(a["m2"], b["m2"], atol=1e-10)


def newest(scan: ScanDir) -> Snapshot:
    found = snapshots.latest(scan)
    assert found is not None
    return found


@settings(max_examples=15, deadline=None)
@given(
    history=st.lists(
        st.dictionaries(st.integers(0, 30), st.integers(0, 1), min_size=1), min_size=1, max_size=4
    ),
    size=st.integers(1, 7),
)
def test_any_history_merges_to_the_moments_of_the_listing(tmp_path_factory, history, size) -> None:
    scan = new_scan(tmp_path_factory.mktemp("w"))
    for listed in history:
        members = [member(k, v) for k, v in sorted(listed.items())]
        refresh(scan, members, shard_size=size)
        for _ in range(2):
            table = merged_moments(scan, newest(scan), merge_moments)
            assert_is_the_whole(scan, table, members)


def many(scan: ScanDir, shards: int) -> Snapshot:
    return refresh(scan, [member(k) for k in range(shards)], shard_size=1)[1]


def poison(scan: ScanDir) -> None:
    """Make the moments of every shard that is there something else, or nothing."""
    for number, shard in enumerate(sorted(scan.shards.iterdir())):
        if number % 2:
            (shard / MOMENTS).unlink(missing_ok=True)
        else:
            (shard / MOMENTS).write_bytes(b"not what was written")


def test_one_new_shard_costs_a_path_and_reads_no_other_shard(tmp_path, monkeypatch) -> None:
    scan = new_scan(tmp_path)
    merged_moments(scan, many(scan, 100), merge_moments)
    assert len(list(scan.moments.iterdir())) == 199
    poison(scan)
    grown = many(scan, 101)
    read: list[Path] = []
    monkeypatch.setattr(
        "warehouse.store.merged.read_file", lambda path: read.append(path) or read_file(path)
    )
    merges = 0

    def counted(tables: Iterable[pa.Table]) -> pa.Table:
        nonlocal merges
        merges += 1
        return merge_moments(tables)

    table = merged_moments(scan, grown, counted)
    assert_is_the_whole(scan, table, [member(k) for k in range(101)])
    assert 0 < merges <= LOG
    assert [path.parent.name for path in read] == [s.shard for s in grown.shards[100:]]
    merged_moments(scan, grown, counted)
    assert len(list(scan.moments.iterdir())) == 199 + merges + 1


@settings(max_examples=15, deadline=None)
@given(
    first=st.sets(st.integers(0, 30), min_size=1),
    nights=st.lists(st.sets(st.integers(0, 40), min_size=1), min_size=1, max_size=4),
)
def test_no_night_reads_a_shard_twice(tmp_path_factory, first, nights) -> None:
    """Pictures come and go, one to a shard; no later night reads what was merged once."""
    scan = new_scan(tmp_path_factory.mktemp("w"))
    for listed in (first, *nights):
        members = [member(k) for k in sorted(listed)]
        snapshot = refresh(scan, members, shard_size=1)[1]
        assert_is_the_whole(scan, merged_moments(scan, snapshot, merge_moments), members)
        poison(scan)


@pytest.mark.parametrize("damage", ["absent", "cut", "flipped"])
def test_a_node_that_is_not_what_was_written_is_made_again(tmp_path: Path, damage: str) -> None:
    scan = new_scan(tmp_path)
    snapshot = many(scan, 6)
    whole = merged_moments(scan, snapshot, merge_moments)
    root = tree(scan, snapshot)
    assert root is not None
    for path in files(root):
        data = bytearray(path.read_bytes())
        if damage == "absent":
            path.unlink()
        elif damage == "cut":
            path.write_bytes(data[: len(data) // 2])
        else:
            data[len(data) // 3] ^= 4
            path.write_bytes(data)
    assert merged_moments(scan, snapshot, merge_moments).equals(whole)
    again = {path: path.stat().st_mtime_ns for path in files(root)}
    assert merged_moments(scan, snapshot, merge_moments).equals(whole)
    assert again == {path: path.stat().st_mtime_ns for path in files(root)}


@pytest.mark.parametrize("why", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_warehouse_that_cannot_be_written_is_read(tmp_path: Path, monkeypatch, why: int) -> None:
    scan = new_scan(tmp_path)
    members = [member(k) for k in range(8)]
    snapshot = refresh(scan, members, shard_size=2)[1]

    def refused(*args: object, **options: object) -> None:
        raise OSError(why, os.strerror(why))

    monkeypatch.setattr("warehouse.store.merged.write_table", refused)
    assert_is_the_whole(scan, merged_moments(scan, snapshot, merge_moments), members)
    assert not scan.moments.exists()


@pytest.mark.parametrize("nodes", [1, 5, 12])
def test_a_kill_between_two_nodes_leaves_what_the_next_reader_goes_on_from(
    tmp_path: Path, monkeypatch, nodes: int
) -> None:
    scan = new_scan(tmp_path)
    members = [member(k) for k in range(8)]
    snapshot = refresh(scan, members, shard_size=1)[1]
    written = 0

    def killed(*args: Any, **options: Any) -> None:
        nonlocal written
        written += 1
        if written > nodes:
            raise KeyboardInterrupt
        write_table(*args, **options)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("warehouse.store.merged.write_table", killed)
        merged_moments(scan, snapshot, merge_moments)
    there = {path: path.stat().st_mtime_ns for path in scan.moments.iterdir()}
    assert len(there) == nodes
    assert_is_the_whole(scan, merged_moments(scan, snapshot, merge_moments), members)
    assert len(list(scan.moments.iterdir())) == 15
    assert there.items() <= {p: p.stat().st_mtime_ns for p in scan.moments.iterdir()}.items()


def test_nodes_of_an_older_version_are_gone_on_from(tmp_path: Path) -> None:
    """It kept no copies of single shards: those that stand beside the path are read once more."""
    scan = new_scan(tmp_path)
    root = tree(scan, many(scan, 12))
    merged_moments(scan, many(scan, 12), merge_moments)
    copies = files(root) - inner(root)
    assert len(copies) == 12
    for path in copies:
        path.unlink()
    grown = many(scan, 13)
    members = [member(k) for k in range(13)]
    assert_is_the_whole(scan, merged_moments(scan, grown, merge_moments), members)
    assert inner(root) & files(tree(scan, grown))


def inner(root: Node | None) -> set[Path]:
    if root is None or not root.parts:
        return set()
    return {root.path}.union(*map(inner, root.parts))


def test_blocks_cover_all_shards_once(tmp_path: Path) -> None:
    scan = new_scan(tmp_path)
    root = tree(scan, many(scan, 37))
    assert root is not None
    for most in (1, 2, 8, 100):
        found = blocks(root, most)
        assert len(found) == min(most, 37)
        assert sum(node.shards for node in found) == 37


def test_gc_keeps_the_newest_tree_alone(tmp_path: Path) -> None:
    scan = new_scan(tmp_path)
    for shards in (8, 9, 10):
        merged_moments(scan, many(scan, shards), merge_moments)
    compacted = compact(scan, 4, merge_moments)
    assert compacted is not None
    table = merged_moments(scan, compacted, merge_moments)
    warehouse = Warehouse(tmp_path)
    collect(warehouse, scan.name, keep_snapshots=3)
    assert set(scan.moments.iterdir()) == files(tree(scan, compacted))
    assert merged_moments(scan, compacted, merge_moments).equals(table)


def test_the_trees_shape_follows_from_the_set_of_shards(tmp_path: Path) -> None:
    scan = new_scan(tmp_path)
    live = [LiveShard(shard=f"s{i}", rows=1, rejects=0, manifest_sha256="") for i in range(40)]

    def shape(of: list[LiveShard]) -> set[Path]:
        snapshot = newest(scan).model_copy(update={"shards": tuple(of)})
        return files(tree(scan, snapshot))

    many(scan, 1)
    assert shape(live) == shape(live[::-1])
    for gone in range(40):
        rest = live[:gone] + live[gone + 1 :]
        assert len(shape(rest) - shape(live)) <= LOG
