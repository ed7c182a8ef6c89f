"""Measure how far each head's distribution has moved since an earlier snapshot of a scan."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from jobs import console
from jobs.steps.drifting import drift_table, snapshot_since
from jobs.steps.opened import open_scan, opened
from schemas.config import Config
from schemas.errors import UsageError
from schemas.kinds import Part
from schemas.results import KINDS
from schemas.results.head_drift import HEAD_DRIFT
from warehouse.files.layout import Warehouse
from warehouse.results.claims import Now
from warehouse.results.files import read_result, write_result
from warehouse.results.registry import result_path
from warehouse.store.content import content

PUBLISHES = True


class DriftConfig(Config):
    """Options of `headatlas drift`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
    since: int | None = Field(
        default=None,
        ge=1,
        description="Number of the earlier snapshot; default, the last with other pictures.",
    )


@dataclass(frozen=True)
class HeadDrift:
    """How far one head has moved, as table `head_drift` says it."""

    head: str
    drift: float | None
    mean_shift: float | None
    variance_ratio: float | None


@dataclass(frozen=True)
class DriftResult:
    """What was measured.

    Attributes:
        since: the earlier snapshot.
        snapshot: the newest.
        heads: those that moved most first.
        why: the reason for which it was made anew; None: the same was there already.
    """

    scan: str
    since: int
    snapshot: int
    heads: tuple[HeadDrift, ...]
    path: Path
    why: str | None


def run(config: DriftConfig) -> DriftResult:
    """Compare the newest snapshot's moments with an earlier one's.

    Raises:
        UnknownName: no such scan or snapshot.
        UsageError: there is no earlier snapshot to compare with.
    """
    after = open_scan(Warehouse(config.warehouse), config.scan)
    if after.snapshot.images == 0:
        raise UsageError(f"scan {after.name!r} holds no picture any more; nothing to compare")
    since = snapshot_since(after, config.since)
    now = Now.opened(after)
    # a snapshot is known by what it holds: its number alone says nothing when pictures come back
    options = {"since": since.number, "held": content(after.scan, since).pictures}
    claim = now.claim(KINDS[HEAD_DRIFT], {Part.OPTIONS: options})
    path = result_path(after.scan, KINDS[HEAD_DRIFT], HEAD_DRIFT)
    why = now.why_not(path, claim)
    if why is not None:
        table = drift_table(opened(after.scan, since), after)
        write_result(path, table, now.provenance(claim, since=since.number))
    rows = read_result(path)[0].to_pylist()
    names = ("name", "drift", "mean_shift", "variance_ratio")
    found = [HeadDrift(*(row[name] for name in names)) for row in rows]
    return DriftResult(
        scan=after.name,
        since=since.number,
        snapshot=after.snapshot.number,
        heads=tuple(sorted(found, key=lambda one: -(one.drift or 0.0))),
        path=path,
        why=why,
    )


def say(config: DriftConfig, done: DriftResult) -> None:
    """Print the heads that moved most."""
    rows = [(h.head, h.drift, h.mean_shift, h.variance_ratio) for h in done.heads[:10]]
    columns = ("head", "drift", "mean shift", "variance ratio")
    console.table(f"{done.scan}, snapshot {done.since} to {done.snapshot}", columns, rows)
