"""Invariant 4 for the store alone: SIGKILL at any moment leaves a store that verifies."""

import multiprocessing
import random
import time
from pathlib import Path

from schemas.members import Member
from tests.store import member, merge_moments, new_scan, refresh
from tests.warehouse.store.test_store_refresh import assert_holds
from warehouse.files.layout import Warehouse
from warehouse.files.lock import scan_lock
from warehouse.store import snapshots
from warehouse.store.gc import collect
from warehouse.store.rewrite import compact
from warehouse.store.verify import verify

KILLS = 15
BAD = {"003.png", "011.png"}


def listing_of(night: int) -> list[Member]:
    """Return a listing that grows, and loses, changes and relabels pictures every night."""
    keys = [k for k in range(10 + 3 * night) if k % 7 != night % 7]
    return [member(k, version=(night + k) // 9, label=f"{(night + k) // 5}") for k in keys]


def live_on(root: Path, begun: object) -> None:
    """Refresh night after night, until killed; compact and collect in between."""
    begun.set()  # type: ignore[attr-defined]
    warehouse = Warehouse(root)
    scan = warehouse.scan("scan")
    newest = snapshots.latest(scan)
    for night in range(newest.number if newest else 0, 1000):
        with scan_lock(scan):
            refresh(scan, listing_of(night % 8), BAD, shard_size=4)
        if night % 3 == 1:
            compact(scan, 12, merge_moments)
        if night % 3 == 2:
            collect(warehouse, "scan", keep_snapshots=2)


def test_a_store_killed_at_any_moment_verifies_and_ends_complete(tmp_path: Path) -> None:
    scan = new_scan(tmp_path)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.warehouse.store.test_store_refresh"])
    rng = random.Random(7)
    before = 0
    for kill in range(KILLS):
        child = context.Process(target=live_on, args=(tmp_path, begun := context.Event()))
        child.start()
        assert begun.wait(60)
        while kill % 2 and child.is_alive() and max(snapshots.numbers(scan), default=0) <= before:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.8))
        assert child.is_alive(), "the child failed before it was killed"
        child.kill()
        child.join()
        newest = snapshots.latest(scan)
        if newest is not None:
            assert newest.number >= before
            before = newest.number
            report = verify(scan)
            assert report.problems == ()
            for number in snapshots.numbers(scan):
                for live in snapshots.load(scan, number).shards:
                    assert (scan.shard(live.shard) / "manifest.json").is_file()
    with scan_lock(scan):
        refresh(scan, listing_of(20), BAD, shard_size=4)
    assert_holds(scan, listing_of(20), BAD)
    assert before >= KILLS // 2
