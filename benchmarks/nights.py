"""A thousand nights: 50 new, 5 changed and 5 vanished pictures each, with housekeeping.

Plan, copies, shards, commit, merged moments, compaction when due and gc are the real ones, on
disk; what the model would give follows from each picture's key, since no model is what is
measured. The listing starts with 2,000 pictures. A night's
figure is the median of 30 nights.
"""

import statistics
import time
from pathlib import Path

import numpy as np

from benchmarks.rows import Row
from schemas.members import Member
from tests.store import member, merge_moments, new_scan, refresh
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.store import gc, snapshots
from warehouse.store.housekeeping import compaction_due
from warehouse.store.merged import merged_moments
from warehouse.store.rewrite import compact
from warehouse.store.verify import verify

START, NEW, CHANGED, VANISHED, SHARD = 2_000, 50, 5, 5, 512


def run(work: Path, nights: int = 1_000) -> list[Row]:
    """Simulate the nights; compare the last 30 with those that end at night 30."""
    rng = np.random.default_rng(0)
    scan = new_scan(work, stored=("head",))
    listed = {key: member(key) for key in range(START)}
    seconds, files, size = [], [], []
    for night in range(nights):
        _change(listed, night, rng)
        started = time.perf_counter()
        _night(scan, list(listed.values()))
        seconds.append(time.perf_counter() - started)
        found = [path.stat().st_size for path in work.rglob("*") if path.is_file()]
        files.append(len(found))
        # the data set itself grows: bytes are a picture's
        size.append(sum(found) / len(listed))
    problems = len(verify(scan).problems)
    note = f"{nights:,} nights of {NEW} new, {CHANGED} changed, {VANISHED} vanished pictures"
    rows = [
        Row(f"{what}, the last night over night 30", _over(of), "x", 1.2, note)
        for what, of in (("files", files), ("bytes a picture", size), ("seconds", seconds))
    ]
    last = statistics.median(seconds[-30:])
    rows.append(Row("seconds of a night at the end", last, "s", None, f"{len(listed):,} pictures"))
    return [*rows, Row("problems at the end, by verify", problems, "", 0, note)]


def _change(listed: dict[int, Member], night: int, rng: np.random.Generator) -> None:
    chosen = rng.choice(list(listed), CHANGED + VANISHED, replace=False).tolist()
    for key in chosen[:CHANGED]:
        listed[key] = member(key, night + 1)
    for key in chosen[CHANGED:]:
        del listed[key]
    first = START + night * NEW
    listed.update((key, member(key)) for key in range(first, first + NEW))


def _night(scan: ScanDir, listing: list[Member]) -> None:
    _, snapshot = refresh(scan, listing, shard_size=SHARD)
    if compaction_due(snapshot, SHARD):
        compact(scan, SHARD, merge_moments)
    newest = snapshots.latest(scan)
    assert newest is not None
    merged_moments(scan, newest, merge_moments)
    gc.collect(Warehouse(scan.path.parent.parent), scan.name, keep_snapshots=2)


def _over(of: list[float]) -> float:
    return statistics.median(of[-30:]) / statistics.median(of[:30])
