"""The records of runs: below `runs/`, one small file each, and in one file those of the past.

A record's file is named for when its run started, so that runs never wait for each other. Pruning
gathers all but the newest in `older.jsonl`, a line each, so that a year of nights is no year of
files. A record is history: one that cannot be read, or that a newer version has written, is passed
over, and never keeps anybody from working.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from schemas.runs import RunRecord
from warehouse.files.atomic import write_text
from warehouse.files.layout import Warehouse

KEEP: Final = 400
"""Records kept by default: those of a year of nights, and some more."""
OLDER: Final = "older.jsonl"
# Records that stay files of their own; with twice as many, all above are gathered.
FRESH: Final = 32
# A run that has not ended may still write its end; after so long it has been killed.
UNENDED: Final = timedelta(days=7)


def run_path(warehouse: Warehouse, record: RunRecord) -> Path:
    """Return where a run's record is written; names sort as the runs started."""
    started = record.started_at.partition("+")[0].replace("-", "").replace(":", "")
    return warehouse.runs / f"{started}Z-{record.run}.json"


def write_run(warehouse: Warehouse, record: RunRecord) -> None:
    """Write a run's record, or replace the one that was written when it started."""
    write_text(run_path(warehouse, record), record.to_json())


def read_runs(warehouse: Warehouse, last: int | None = None) -> list[RunRecord]:
    """Return the records that can be read, newest first; of the newest `last` alone if given."""
    return list(_records(warehouse).values())[:last]


def prune_runs(warehouse: Warehouse, keep: int = KEEP) -> int:
    """Delete all but the newest `keep` records, and gather old ones; return how many went."""
    with _alone(warehouse) as alone:
        if not alone:
            return 0
        found, files = _records(warehouse), _paths(warehouse)
        kept = dict(list(found.items())[:keep])
        gone = len(found) - len(kept)
        if not gone and len(files) <= 2 * FRESH:
            return 0
        stay = {path for path in files[:FRESH] if path.name in kept}
        stay |= {path for path in files if path.name in kept and not _settled(kept[path.name])}
        names = {path.name for path in stay}
        old = [record.model_dump_json() for name, record in kept.items() if name not in names]
        if old or (warehouse.runs / OLDER).exists():
            # before the files go: killed in between, a record is there twice, and read once
            write_text(warehouse.runs / OLDER, "".join(f"{line}\n" for line in old))
        oldest = min(kept)
        for path in files:
            # what cannot be read goes when it is older than all that is kept
            if path not in stay and (path.name in found or path.name < oldest):
                path.unlink(missing_ok=True)
    return gone


def _records(warehouse: Warehouse) -> dict[str, RunRecord]:
    """Return the records by the names of their files, newest first."""
    # files first: those that are gathered meanwhile are then among the older ones
    texts = [_text(path) for path in _paths(warehouse)]
    texts += _text(warehouse.runs / OLDER).splitlines()
    found: dict[str, RunRecord] = {}
    for text in texts:
        try:
            record = RunRecord.model_validate_json(text)
        except ValidationError:
            continue
        # a file of its own is the later word
        found.setdefault(run_path(warehouse, record).name, record)
    return dict(sorted(found.items(), reverse=True))


def _text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _settled(record: RunRecord) -> bool:
    """Whether a record will not be written again."""
    if record.ended_at is not None:
        return True
    try:
        return datetime.now(UTC) - datetime.fromisoformat(record.started_at) > UNENDED
    except (TypeError, ValueError):
        return True


@contextmanager
def _alone(warehouse: Warehouse) -> Iterator[bool]:
    """Say whether nobody else gathers records now; on a file system without locks, nobody does."""
    if not warehouse.runs.is_dir():
        yield False
        return
    handle = os.open(warehouse.runs, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield False
    else:
        yield True
    finally:
        os.close(handle)


def _paths(warehouse: Warehouse) -> list[Path]:
    found = (path for path in warehouse.runs.glob("*.json") if path.name[0].isdigit())
    return sorted(found, key=lambda path: path.name, reverse=True)
