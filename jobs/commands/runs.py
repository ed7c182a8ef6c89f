"""Print the last runs of commands that wrote: when, what, how many, how fast, how they ended."""

from pathlib import Path

from pydantic import Field

from jobs import console
from schemas.config import Config
from schemas.runs import RunRecord
from warehouse.files.layout import Warehouse
from warehouse.store.runs import read_runs


class RunsConfig(Config):
    """Options of `headatlas runs`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    last: int = Field(default=20, ge=1, description="Runs to print, the newest first.")


def run(config: RunsConfig) -> list[RunRecord]:
    """Return the records of the last runs, newest first, also of those that are going on."""
    return read_runs(Warehouse(config.warehouse), config.last)


COLUMNS = (
    "started_at",
    "command",
    "scan_id",
    "seconds",
    "outcome",
    "images",
    "scanned",
    "rejects",
    "rate",
    "message",
)


def say(config: RunsConfig, done: list[RunRecord]) -> None:
    """Print a line for each run."""
    rows = [[getattr(record, name) for name in COLUMNS] for record in done]
    console.table("Runs", COLUMNS, [[row[0][:19], *row[1:]] for row in rows])
