"""How far a scan's heads have moved between two of its snapshots, by their merged moments."""

import pyarrow as pa

from jobs.steps.opened import Opened
from pipeline.heads.drift import drift
from schemas.errors import UnknownName, UsageError
from schemas.manifest import Snapshot
from schemas.names import head_name
from schemas.results.head_drift import head_drift_schema
from warehouse.files.layout import ScanDir
from warehouse.store import snapshots
from warehouse.store.content import content


def earlier(scan: ScanDir, newest: Snapshot) -> Snapshot | None:
    """Return the last kept snapshot of the same configuration with other pictures; None: none."""
    pictures = content(scan, newest).pictures
    for number in reversed(snapshots.numbers(scan)):
        if number < newest.number:
            found = snapshots.load(scan, number)
            if _comparable(found, newest) and content(scan, found).pictures != pictures:
                return found
    return None


def snapshot_since(opened: Opened, number: int | None) -> Snapshot:
    """Return the earlier snapshot asked for; None: the last with other pictures.

    Raises:
        UnknownName: it is not kept.
        UsageError: there is none, or it holds no picture or those of another configuration.
    """
    scan, newest = opened.scan, opened.snapshot
    known = snapshots.numbers(scan)
    if number is None:
        found = earlier(scan, newest)
        if found is None:
            raise UsageError(
                f"scan {scan.name!r} keeps no earlier snapshot with other pictures (there is "
                f"{', '.join(map(str, known))}); drift is measured between two: scan again when "
                "the pictures have changed, and keep snapshots"
            )
        return found
    if number not in known or number >= newest.number:
        older = [str(n) for n in known if n < newest.number]
        raise UnknownName.among(f"snapshot before {newest.number} called", number, older)
    found = snapshots.load(scan, number)
    if not _comparable(found, newest):
        raise UsageError(
            f"snapshot {number} of scan {scan.name!r} holds no picture, or is of another "
            "configuration than the newest; name another with --since"
        )
    return found


def _comparable(one: Snapshot, newest: Snapshot) -> bool:
    return one.images > 0 and one.fingerprint == newest.fingerprint


def drift_table(before: Opened, after: Opened) -> pa.Table:
    """Return one row per head, as head_drift.parquet has them."""
    rows = []
    for layer, head in after.heads:
        key = "head", layer, head
        moved = drift(before.moments[key], after.moments[key])
        rows.append(
            {
                "layer": layer,
                "head": head,
                "name": head_name(layer, head),
                "since": before.snapshot.number,
                "n_since": before.snapshot.images,
                "n": after.snapshot.images,
                "drift": moved.drift,
                "mean_shift": moved.mean_shift,
                "variance_ratio": moved.variance_ratio,
            }
        )
    return pa.Table.from_pylist(rows, schema=head_drift_schema())
