"""The zero-shot number in scan.json, and whether it is of what a snapshot holds."""

from collections.abc import Mapping
from typing import Any

from schemas.manifest import ScanRecord, Snapshot
from warehouse.files.layout import ScanDir
from warehouse.store.content import content


def zero_shot_of(scan: ScanDir, record: ScanRecord, snapshot: Snapshot) -> Mapping[str, Any] | None:
    """Return the number over a snapshot's pictures and labels; None where it is of others.

    Older versions wrote which snapshot it is of, in place of what that held.
    """
    said = record.zero_shot
    if said is None:
        return None
    if "snapshot" in said:
        return said if said["snapshot"] == snapshot.number else None
    found = content(scan, snapshot)
    return said if (said["pictures"], said["labels"]) == (found.pictures, found.labels) else None


def store_zero_shot(
    scan: ScanDir, record: ScanRecord, snapshot: Snapshot, number: Mapping[str, Any]
) -> None:
    """Write the number into scan.json, with the digests of the pictures and labels it is of."""
    found = content(scan, snapshot)
    said = {**number, "pictures": found.pictures, "labels": found.labels}
    scan.save_record(record.model_copy(update={"zero_shot": said}))
