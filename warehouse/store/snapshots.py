"""Snapshots: which shards are live. Creating one, exclusively, is the commit of a scan."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from schemas.errors import StoreError, UnknownName
from schemas.manifest import LiveShard, ShardManifest, Snapshot
from warehouse.files.atomic import create_text, sha256_file
from warehouse.files.documents import read_document
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.results.files import write_result
from warehouse.store.content import kept, shard_content, total
from warehouse.store.newest import age
from warehouse.store.reading import read_images, read_rejects
from warehouse.store.shards import MANIFEST


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
        NewerFormat: a newer version of the program has committed it.
        CorruptStore: it is absent or no snapshot.
    """
    return read_document(
        scan.snapshot(number), Snapshot, "a snapshot", "run the scan again to commit a new one"
    )


def open_scan(warehouse: Warehouse, name: str | None) -> tuple[ScanDir, Snapshot]:
    """Return a scan and its newest snapshot; without a name, the default scan.

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
    return max(found, key=lambda pair: age(pair[0].load_record()))


def commit(
    scan: ScanDir,
    manifests: Sequence[ShardManifest],
    *,
    fingerprint: str,
    next_image_id: int,
    base_snapshot: int | None = None,
) -> Snapshot:
    """Make these shards the live ones, as the next snapshot.

    Args:
        scan: the scan.
        manifests: all shards that are to be live.
        fingerprint: of the configuration.
        next_image_id: above every id given so far.
        base_snapshot: the newest snapshot when these shards were planned, 0 for none; by default
            the newest now.

    Raises:
        StoreError: a shard is not whole, two of them share an image_id, or another writer has
            committed in between.
    """
    live = sorted(manifests, key=lambda m: (m.first_image_id, m.shard))
    for manifest in live:
        if not (scan.shard(manifest.shard) / MANIFEST).is_file():
            raise StoreError(f"shard {manifest.shard} of {scan.name} is not whole; scan again")
    _refuse_shared_ids(scan, live)
    newest = max(numbers(scan), default=0)
    if base_snapshot not in (None, newest):
        raise _overtaken(scan, newest)
    shards = _live_shards(scan, live)
    whole = total(part for shard in shards if (part := kept(shard)) is not None)
    snapshot = Snapshot(
        number=newest + 1,
        created_at=datetime.now(UTC).isoformat(timespec="microseconds"),
        fingerprint=fingerprint,
        shards=shards,
        next_image_id=next_image_id,
        images=sum(m.rows for m in live),
        rejects=sum(m.rejects for m in live),
        pictures_digest=whole.pictures,
        labels_digest=whole.labels,
    )
    # before the commit: killed in between, the run is not finished and will write it again
    _write_rejects(scan, snapshot)
    try:
        create_text(scan.snapshot(snapshot.number), snapshot.to_json())
    except FileExistsError:
        _write_rejects(scan, load(scan, snapshot.number))
        raise _overtaken(scan, snapshot.number) from None
    return snapshot


def _live_shards(scan: ScanDir, live: Sequence[ShardManifest]) -> tuple[LiveShard, ...]:
    """Describe the shards; the digests of those that are live already are not made again."""
    newest = latest(scan)
    before = {shard.shard: shard for shard in newest.shards} if newest is not None else {}
    found = []
    for m in live:
        sha256 = sha256_file(scan.shard(m.shard) / MANIFEST)
        old = before.get(m.shard)
        same = old is not None and old.manifest_sha256 == sha256
        digests = (kept(old) if same and old else None) or shard_content(scan, m.shard)
        found.append(
            LiveShard(
                shard=m.shard,
                rows=m.rows,
                rejects=m.rejects,
                manifest_sha256=sha256,
                pictures_digest=digests.pictures,
                labels_digest=digests.labels,
            )
        )
    return tuple(found)


def _overtaken(scan: ScanDir, number: int) -> StoreError:
    return StoreError(
        f"another writer has committed snapshot {number} of {scan.name} since this run was "
        "planned; run the same command again"
    )


def _write_rejects(scan: ScanDir, snapshot: Snapshot) -> None:
    table = read_rejects(scan, [live.shard for live in snapshot.shards])
    write_result(scan.rejects, table, {"snapshot": snapshot.number})


def _refuse_shared_ids(scan: ScanDir, live: Sequence[ShardManifest]) -> None:
    """Refuse shards, ascending by first id, that share an image_id; most ranges are disjoint."""
    clusters: list[list[ShardManifest]] = []
    end = -1
    for manifest in [m for m in live if m.rows]:
        if manifest.first_image_id > end:
            clusters.append([])
        clusters[-1].append(manifest)
        end = max(end, manifest.last_image_id)
    for cluster in clusters:
        names = [m.shard for m in cluster]
        if len(names) > 1:
            ids = read_images(scan, names, ["image_id"])["image_id"].to_numpy()
            if len(np.unique(ids)) != len(ids):
                raise StoreError(
                    f"shards {', '.join(names)} of {scan.name} share an image_id; nothing is "
                    "committed: delete one of them, then run the same command again"
                )
