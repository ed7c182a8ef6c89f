"""Deleting what nobody names: shards of no kept snapshot and of no published version.

Each published version lies beside a JSON file with the snapshot of every scan it reads. Shards that
an interrupted run may still take up are kept, and so are temporary folders younger than a day.
"""

import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import CorruptStore, StoreError, UsageError
from warehouse.files.atomic import TEMPORARY, is_temporary
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.files.lock import scan_lock
from warehouse.results.claims import Now, foreign
from warehouse.results.files import read_provenance
from warehouse.results.registry import stored
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
    """What nobody will use: files of killed runs, and results of another configuration."""

    files: int
    bytes: int
    results: tuple[str, ...] = ()


def sweep(warehouse: Warehouse) -> Swept:
    """Delete temporary files and folders older than a day, wherever they are; parts; dead results.

    Parts of results go when nobody has gone on with them for a week; results when they are of
    another model or configuration than their scan is now (not those made by hand).
    """
    doomed = [path for path in _temporary(warehouse.root) if _last_written(path) > DAY]
    results = []
    for name in warehouse.scans():
        scan = warehouse.scan(name)
        doomed += [f for f in sorted(scan.unfinished.glob("*")) if _last_written(f) > WEEK]
        now = Now.of(scan)
        for kind, path in stored(scan):
            if not kind.by_hand and foreign(now.broken(kind, read_provenance(path))):
                results.append(f"{name}/{kind.name}/{path.stem}")
                doomed.append(path)
    files = [
        f for path in doomed for f in (path, *path.rglob("*")) if f.is_symlink() or f.is_file()
    ]
    freed = sum(f.lstat().st_size for f in files)
    for path in doomed:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return Swept(len(files), freed, tuple(results))


def _temporary(root: Path) -> list[Path]:
    """Return the files and folders below one whose names are those of killed runs."""
    found = []
    for above, folders, files in os.walk(root):
        names = sorted(name for name in (*folders, *files) if is_temporary(name))
        found += [Path(above, name) for name in names]
        folders[:] = [name for name in folders if not is_temporary(name)]
    return found


def _last_written(path: Path) -> float:
    """Return the seconds since a file, or anything in a folder, was last written."""
    return min(map(_age, (path, *path.rglob("*"))))


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
        freed += sum(delete_shard(folder) for folder in doomed)
        freed += sum(_forget(path) for path in _old_frames(scan, kept))
    return Collected(name, tuple(f.name for f in doomed), tuple(gone), freed)


def _old_frames(scan: ScanDir, kept: list[int]) -> list[Path]:
    """Return frames for SQL of configurations of which no snapshot is kept."""
    if not scan.record.is_file():
        return []
    record = scan.load_record()
    if {snapshots.load(scan, n).fingerprint for n in kept} != {record.fingerprint()}:
        return []
    own = scan.frame_table(record.frames_sha256)
    return [path for path in scan.path.glob("frames-*.parquet") if path != own]


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
    return time.time() - path.lstat().st_mtime


def _forget(path: Path) -> int:
    """Delete one file; return the bytes that this frees."""
    size = path.stat().st_size
    path.unlink()
    return size


def delete_shard(folder: Path) -> int:
    """Delete a shard, its manifest first; return the bytes that this frees."""
    files = [p.stat() for p in folder.rglob("*") if p.is_file()]
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder)
    return sum(s.st_size for s in files if s.st_nlink == 1)
