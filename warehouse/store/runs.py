"""The records of runs: one small file each below `runs/`, named for when the run started.

A record is history: one that cannot be read, or that a newer version has written, is passed over,
and never keeps anybody from working.
"""

from pathlib import Path

from pydantic import ValidationError

from schemas.runs import RunRecord
from warehouse.files.atomic import write_text
from warehouse.files.layout import Warehouse

KEEP = 400
"""Records kept by default: those of a year of nights, and some more."""


def run_path(warehouse: Warehouse, record: RunRecord) -> Path:
    """Return where a run's record lies; names sort as the runs started."""
    started = record.started_at.partition("+")[0].replace("-", "").replace(":", "")
    return warehouse.runs / f"{started}Z-{record.run}.json"


def write_run(warehouse: Warehouse, record: RunRecord) -> None:
    """Write a run's record, or replace the one that was written when it started."""
    write_text(run_path(warehouse, record), record.to_json())


def read_runs(warehouse: Warehouse, last: int | None = None) -> list[RunRecord]:
    """Return the records that can be read, newest first; of the newest `last` alone if given."""
    found: list[RunRecord] = []
    for path in _paths(warehouse):
        if last is not None and len(found) >= last:
            break
        try:
            found.append(RunRecord.model_validate_json(path.read_bytes()))
        except (OSError, ValidationError):
            continue
    return found


def prune_runs(warehouse: Warehouse, keep: int = KEEP) -> int:
    """Delete all but the newest `keep` records; return how many went."""
    gone = _paths(warehouse)[keep:]
    for path in gone:
        path.unlink(missing_ok=True)
    return len(gone)


def _paths(warehouse: Warehouse) -> list[Path]:
    found = (path for path in warehouse.runs.glob("*.json") if path.name[0].isdigit())
    return sorted(found, key=lambda path: path.name, reverse=True)
