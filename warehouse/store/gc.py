"""Deleting what nobody names: shards of no kept snapshot and of no published version.

Each published version lies beside a JSON file with the snapshot of every scan it reads. Shards that
an interrupted run may still take up are kept, and so are temporary folders younger than a day.
"""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import CorruptStore, StoreError, UsageError
from warehouse.files.atomic import TEMPORARY
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.files.lock import scan_lock
from warehouse.store import merged, snapshots
from warehouse.store.shards import MANIFEST, load_manifest

DAY = 24 * 3600
WEEK = 7 * DAY


@dataclass(frozen=True)
class Collected:
    """What was deleted from one scan."""

    scan: str
    shards: tuple[str, ...]
    snapshots: tuple[int, ...]
    bytes: int


@dataclass(frozen=True)
class Swept:
    """What killed runs had left beside results, and was deleted."""

    files: int
    bytes: int


def sweep(warehouse: Warehouse) -> Swept:
    """Delete half-written results, of scans and of segment.

    These are temporary files older than a day, and the parts of results that nobody has gone on
    with for a week.
    """
    folders, given_up = [warehouse.segmentation], list[Path]()
    for name in warehouse.scans():
        scan = warehouse.scan(name)
        folders += [f for f in sorted(scan.path.iterdir()) if f.is_dir() and f != scan.shards]
        given_up += [f for f in scan.unfinished.glob("*") if _last_written(f) > WEEK]
    doomed = [
        path
        for folder in folders
        for path in sorted(folder.rglob(f"{TEMPORARY}*"))
        if path.is_file() and _age(path) > DAY
    ]
    freed = sum(path.stat().st_size for path in doomed)
    for path in doomed:
        path.unlink()
    parts = [path for folder in given_up for path in folder.rglob("*") if path.is_file()]
    freed += sum(path.stat().st_size for path in parts)
    for folder in given_up:
        shutil.rmtree(folder)
    return Swept(len(doomed) + len(parts), freed)


def _last_written(folder: Path) -> float:
    """Return the seconds since a file was last written into a folder."""
    return min(map(_age, (folder, *folder.rglob("*"))))


def published_snapshots(warehouse: Warehouse) -> dict[str, set[int]]:
    """Return, per scan, the snapshots that some published version reads, or is about to read.

    Raises:
        StoreError: a version does not say what it reads.
    """
    for path in sorted(warehouse.versions.glob("atlas-*.duckdb")):
        if not path.with_suffix(".json").is_file():
            raise StoreError(
                f"{path} has no {path.stem}.json beside it that says which snapshots it reads; "
                "publish again and delete that version, or restore the file"
            )
    found: dict[str, set[int]] = {}
    for path in sorted(warehouse.versions.glob("atlas-*.json")):
        for scan, number in json.loads(path.read_text())["scans"].items():
            found.setdefault(scan, set()).add(int(number))
    return found


def collect(warehouse: Warehouse, name: str, *, keep_snapshots: int = 3) -> Collected:
    """Delete a scan's unnamed shards and its older snapshots.

    Snapshots go before their shards, so that a kill in between never leaves a snapshot that names
    what is gone.

    Raises:
        UsageError: not even the newest snapshot would be kept.
        StoreError: a published version does not say what it reads.
        Locked: another run is writing this scan.
    """
    if keep_snapshots < 1:
        raise UsageError(f"keep {keep_snapshots} snapshots: expected 1 or more")
    scan = warehouse.scan(name)
    with scan_lock(scan):
        numbers = snapshots.numbers(scan)
        read = published_snapshots(warehouse).get(name, set())
        kept = [n for n in numbers if n in numbers[-keep_snapshots:] or n in read]
        named = {live.shard for n in kept for live in snapshots.load(scan, n).shards}
        newest = numbers[-1] if numbers else 0
        doomed = [
            folder
            for folder in sorted(scan.shards.iterdir())
            if folder.is_dir() and folder.name not in named and _dead(scan, folder, newest)
        ]
        gone = [n for n in numbers if n not in kept]
        for number in gone:
            scan.snapshot(number).unlink()
        live = merged.files(merged.tree(scan, snapshots.load(scan, newest))) if newest else set()
        freed = sum(_forget(path) for path in set(scan.moments.glob("*.parquet")) - live)
        freed += sum(_delete(folder) for folder in doomed)
    return Collected(name, tuple(f.name for f in doomed), tuple(gone), freed)


def _dead(scan: ScanDir, folder: Path, newest: int) -> bool:
    """Whether nobody can still want this folder, which no kept snapshot names."""
    if folder.name.startswith(TEMPORARY) or not (folder / MANIFEST).is_file():
        return _age(folder) > DAY
    try:
        return load_manifest(scan, folder.name).base_snapshot != newest
    except CorruptStore:
        return True


def _age(path: Path) -> float:
    """Return the seconds since something was last written there."""
    return time.time() - path.stat().st_mtime


def _forget(path: Path) -> int:
    """Delete one file; return the bytes that this frees."""
    size = path.stat().st_size
    path.unlink()
    return size


def _delete(folder: Path) -> int:
    """Delete a shard, its manifest first; return the bytes that this frees."""
    files = [p.stat() for p in folder.rglob("*") if p.is_file()]
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder)
    return sum(s.st_size for s in files if s.st_nlink == 1)
