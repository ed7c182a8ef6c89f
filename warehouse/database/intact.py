"""Whether what is loaded of shards is what was written, without reading all of them every night.

A shard never changes once it is written. So its images and rejects are compared with their digests
when they are first published, and again only when a file's size, inode or times say that it was
written, moved or copied since: `atlas/checked.json` keeps these. What a disk loses by itself, and
contributions, are for `headatlas verify`.
"""

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from schemas.errors import CorruptStore
from schemas.files import IMAGES, REJECTS
from schemas.manifest import LiveShard
from warehouse.database.inventory import Source
from warehouse.database.notes import Note, read_note
from warehouse.files.atomic import sha256_file
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.store.shards import MANIFEST, load_manifest, require_intact

CHECKED: Final = "checked"
# A file may be written again without its times telling, so soon after it was written.
_SETTLED: Final = 2_000_000_000

# By shard: the digest of its manifest, then of each file what `_state` says.
State = list[Any]


def check_sources(warehouse: Warehouse, sources: Sequence[Source]) -> Note:
    """Check what is loaded of the live shards, images and rejects, against what was written.

    Returns:
        What is to be noted as `CHECKED` once the version is in place.

    Raises:
        CorruptStore: a file is missing, or its bytes are not those that were written.
    """
    before = read_note(warehouse, CHECKED)
    live = [(source.scan, shard) for source in sources for shard in source.snapshot.shards]

    def one(found: tuple[ScanDir, LiveShard]) -> State:
        scan, shard = found
        state = _shard_state(scan, shard)
        if state != before.get(_name(scan, shard)):
            _check_shard(scan, shard)
        return state

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # all are waited for, and the first that fails is raised
        states = list(pool.map(one, live))
    latest = time.time_ns() - _SETTLED
    return {
        _name(*found): state
        for found, state in zip(live, states, strict=True)
        if all(max(times) < latest for _, _, *times in state[1:])
    }


def _name(scan: ScanDir, shard: LiveShard) -> str:
    return f"{scan.name}/{shard.shard}"


def _shard_state(scan: ScanDir, shard: LiveShard) -> State:
    folder = scan.shard(shard.shard)
    return [shard.manifest_sha256, *(_state(folder / f) for f in (MANIFEST, IMAGES, REJECTS))]


def _state(path: Path) -> list[int]:
    """Return a file's size and inode, and when it was last written and changed.

    Raises:
        CorruptStore: it is not there.
    """
    try:
        found = path.stat()
    except OSError:
        raise CorruptStore(
            f"{path} is missing; restore it, or scan anew with --restart; headatlas verify lists "
            "all such files"
        ) from None
    return [found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns]


def _check_shard(scan: ScanDir, live: LiveShard) -> None:
    path = scan.shard(live.shard) / MANIFEST
    manifest = load_manifest(scan, live.shard)
    if sha256_file(path) != live.manifest_sha256:
        raise CorruptStore(f"{path} is not what was written; restore it, or scan with --restart")
    require_intact(scan, manifest, (IMAGES, REJECTS))
