"""Snapshots: which shards are live. Creating one, exclusively, is the commit of a scan."""

from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import ValidationError

from schemas.errors import CorruptStore, StoreError, UnknownName
from schemas.manifest import LiveShard, ShardManifest, Snapshot
from warehouse.atomic import create_text, sha256_file, write_table
from warehouse.layout import ScanDir, Warehouse
from warehouse.reading import read_rejects
from warehouse.shards import MANIFEST


def numbers(scan: ScanDir) -> list[int]:
    """Return the numbers of all kept snapshots, ascending."""
    return sorted(int(p.stem) for p in scan.snapshots.glob("*.json") if p.stem.isdecimal())


def latest(scan: ScanDir) -> Snapshot | None:
    """Return the newest snapshot; None before the first commit."""
    found = numbers(scan)
    return load(scan, found[-1]) if found else None


def load(scan: ScanDir, number: int) -> Snapshot:
    """Read a snapshot.

    Raises:
        CorruptStore: it is absent or no snapshot.
    """
    path = scan.snapshot(number)
    try:
        return Snapshot.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise CorruptStore(f"{path} is missing; run the scan again") from None
    except ValidationError as error:
        what = error.errors()[0]["msg"]
        raise CorruptStore(f"{path} is no snapshot: {what}; restore it or delete it") from None


def open_scan(warehouse: Warehouse, name: str | None) -> tuple[ScanDir, Snapshot]:
    """Return a scan and its newest snapshot; without a name, the scan committed last.

    Raises:
        UnknownName: no such scan, or none that has committed anything.
    """
    if name is not None:
        scan = warehouse.scan(name)
        snapshot = latest(scan)
        if snapshot is None:
            raise UnknownName(f"scan {name} has no snapshot yet; run the scan to its end")
        return scan, snapshot
    found = [(scan, s) for n in warehouse.scans() if (s := latest(scan := warehouse.scan(n)))]
    if not found:
        raise UnknownName(f"no finished scan in {warehouse.root}; run headatlas scan first")
    return max(found, key=lambda pair: (pair[1].created_at, pair[0].name))


def commit(
    scan: ScanDir, manifests: Sequence[ShardManifest], *, fingerprint: str, next_image_id: int
) -> Snapshot:
    """Make these shards the live ones, as the next snapshot.

    Raises:
        StoreError: a shard is not whole, or another writer has committed in between.
    """
    live = sorted(manifests, key=lambda m: (m.first_image_id, m.shard))
    for manifest in live:
        if not (scan.shard(manifest.shard) / MANIFEST).is_file():
            raise StoreError(f"shard {manifest.shard} of {scan.name} is not whole; scan again")
    before = numbers(scan)
    snapshot = Snapshot(
        number=before[-1] + 1 if before else 1,
        created_at=datetime.now(UTC).isoformat(timespec="microseconds"),
        fingerprint=fingerprint,
        shards=tuple(
            LiveShard(
                shard=m.shard,
                rows=m.rows,
                rejects=m.rejects,
                manifest_sha256=sha256_file(scan.shard(m.shard) / MANIFEST),
            )
            for m in live
        ),
        next_image_id=next_image_id,
        images=sum(m.rows for m in live),
        rejects=sum(m.rejects for m in live),
    )
    try:
        create_text(scan.snapshot(snapshot.number), snapshot.to_json())
    except FileExistsError:
        raise StoreError(
            f"another writer has committed snapshot {snapshot.number} of {scan.name}; "
            "run the same command again"
        ) from None
    write_table(scan.rejects, read_rejects(scan, [m.shard for m in live]))
    return snapshot
