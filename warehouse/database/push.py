"""Copying a published warehouse to object storage: files that never change first, the pointer last.

What is there already, by name and size, is not sent again: shards never change under their names. A
reader of the copy finds `atlas.duckdb` whole: it is replaced when all that it reads is there.
Nothing is deleted there, so that whoever reads an older version goes on.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import fsspec

from schemas.addresses import text_without_credentials, without_credentials
from schemas.errors import StoreError, UsageError
from schemas.files import IMAGES
from schemas.written import DATABASE, POINTER, SCANS, VERSIONS
from warehouse.files.layout import Warehouse
from warehouse.store import snapshots
from warehouse.store.shards import load_manifest

AT_A_TIME: Final = 8


@dataclass(frozen=True)
class Pushed:
    """What a copy came to.

    Attributes:
        destination: where it lies, without credentials.
        version: the published version that it holds.
        files: files that were sent.
        bytes: their size.
        there: files that were there already.
    """

    destination: str
    version: int
    files: int
    bytes: int
    there: int


def push(warehouse: Warehouse, destination: str) -> Pushed:
    """Copy the newest published version, and the Parquet that it reads, to an fsspec URL.

    Args:
        warehouse: what to copy.
        destination: a folder's URL, as `s3://bucket/atlas`; credentials as its file system has
            them.

    Raises:
        UsageError: nothing has been published.
        StoreError: the destination cannot be read or written.
    """
    if not warehouse.database.exists():
        raise UsageError(f"no published database in {warehouse.root}; run headatlas publish")
    database = warehouse.database.resolve()
    said = json.loads(database.with_suffix(".json").read_text(encoding="utf-8"))
    files = _files(warehouse, said["scans"])
    stat = database.stat()
    pointer = {"version": said["version"], "bytes": stat.st_size, "written": stat.st_mtime_ns}
    try:
        system, root = fsspec.core.url_to_fs(destination)
        sent, size = _send(system, root.rstrip("/"), files, database, pointer)
    except Exception as error:
        reason = text_without_credentials(" ".join(str(error).split()) or type(error).__name__)
        raise StoreError(
            f"{without_credentials(destination)} cannot be written: {reason}; check the URL and "
            "credentials, then run the same command again: only what is missing is sent"
        ) from error
    return Pushed(
        str(without_credentials(destination)), said["version"], sent, size, len(files) + 2 - sent
    )


def _files(warehouse: Warehouse, shown: dict[str, int]) -> dict[str, Path]:
    """Return the files that the views of a version read, by their names below the root."""
    found: dict[str, Path] = {}
    for name, number in shown.items():
        scan = warehouse.scan(name)
        frames = scan.frame_table(scan.load_record().frames_sha256)
        if frames.is_file():
            found[f"{SCANS}/{name}/{frames.name}"] = frames
        for live in snapshots.load(scan, number).shards:
            for file in load_manifest(scan, live.shard).files if live.rows else ():
                if file == IMAGES or file.endswith("/contributions.parquet"):
                    found[f"{SCANS}/{name}/shards/{live.shard}/{file}"] = (
                        scan.shard(live.shard) / file
                    )
    return found


def _send(
    system: Any,
    root: str,
    files: dict[str, Path],
    database: Path,
    pointer: dict[str, int],
) -> tuple[int, int]:
    """Send what is missing; return how many files and bytes that was."""
    system.invalidate_cache()
    there = _sizes(system, root)
    missing = {n: p for n, p in files.items() if there.get(n) != p.stat().st_size}

    def one(name: str, path: Path) -> int:
        system.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
        system.put_file(str(path), f"{root}/{name}")
        return path.stat().st_size

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        size = sum(pool.map(one, missing, missing.values()))
    if POINTER in there and json.loads(system.cat_file(f"{root}/{POINTER}")) == pointer:
        return len(missing), size
    # by its number for readers that stay with it; by its plain name for those that ask anew
    size += one(f"{VERSIONS}/{database.name}", database) + one(DATABASE, database)
    system.pipe_file(f"{root}/{POINTER}", json.dumps(pointer).encode())
    return len(missing) + 2, size


def _sizes(system: Any, root: str) -> dict[str, int]:
    try:
        found = system.find(root, detail=True)
    except FileNotFoundError:
        return {}
    cut = len(system._strip_protocol(root).rstrip("/")) + 1
    return {path[cut:]: int(info["size"]) for path, info in found.items()}
