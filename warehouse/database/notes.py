"""What publishing notes of shards for its next time, in `atlas/`; lost, it is found out again."""

import json
from typing import Any

from warehouse.files.atomic import write_text
from warehouse.files.layout import Warehouse

# By SCAN/SHARD.
Note = dict[str, Any]


def read_note(warehouse: Warehouse, name: str) -> Note:
    """Return what was noted; nothing, where that cannot be read."""
    try:
        found = json.loads((warehouse.versions / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_note(warehouse: Warehouse, name: str, note: Note) -> None:
    """Write what is noted from now on, in place of what was."""
    if note != read_note(warehouse, name):
        write_text(warehouse.versions / f"{name}.json", json.dumps(note))
