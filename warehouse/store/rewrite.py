"""Copying shards without computing anything again: survivors, new labels, and compaction."""

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.errors import StoreError
from schemas.files import IMAGES, REJECTS, SUMS, images_schema
from schemas.manifest import ShardManifest, Snapshot, Timing, digest, members_digest
from schemas.members import Member
from warehouse.files.atomic import PARQUET, temporary_beside
from warehouse.files.layout import ScanDir
from warehouse.files.lock import scan_lock
from warehouse.store import snapshots
from warehouse.store.plan import MERGED, CopyTask, adoptable
from warehouse.store.reading import (
    iterate_moments,
    matrix,
    read_images,
    read_layer,
    read_mlp,
    read_rejects,
)
from warehouse.store.shards import (
    IMAGES_OPTIONS,
    MANIFEST,
    ShardPayload,
    describe_shard,
    install_shard,
    load_manifest,
    mlp_path,
    require_intact,
    write_shard,
)
from warehouse.store.sums import read_sums

MomentsOf = Callable[[Mapping[int, np.ndarray], np.ndarray, Mapping[int, np.ndarray]], pa.Table]


def copy_shards(
    scan: ScanDir, tasks: Sequence[CopyTask], *, fingerprint: str, moments_of: MomentsOf
) -> list[ShardManifest]:
    """Carry out copies; those that an interrupted run has finished are taken as they are.

    Args:
        scan: the scan.
        tasks: what to copy.
        fingerprint: of the configuration.
        moments_of: contributions by layer, embeddings and MLPs by layer to rows of moments.parquet.
    """
    return [_copy(scan, task, fingerprint, moments_of) for task in tasks]


def _copy(scan: ScanDir, task: CopyTask, fingerprint: str, moments_of: MomentsOf) -> ShardManifest:
    if (scan.shard(task.shard) / MANIFEST).is_file():
        return load_manifest(scan, task.shard)
    source = load_manifest(scan, task.source)
    images = read_images(scan, [task.source])
    keep = pc.is_in(images["image_id"], pa.array(task.image_ids, pa.int64()))
    images = _relabel(images.filter(keep), task.relabelled)
    rejects = read_rejects(scan, [task.source])
    rejects = rejects.filter(pc.is_in(rejects["key"], pa.array(sorted(task.rejects), pa.string())))
    if len(images) == source.rows:
        return _link(scan, task, source, images, rejects, fingerprint)
    require_intact(scan, source)
    rows = np.flatnonzero(keep.to_numpy())
    contributions, mlp = {}, {}
    if len(rows):
        for layer in source.layers:
            contributions[layer] = read_layer(scan, task.source, layer).vectors[:, rows]
        mlp = {layer: read_mlp(scan, task.source, layer)[rows] for layer in _mlp_layers(source)}
    embedding = matrix(images["embedding"])
    payload = ShardPayload(
        images, rejects, moments_of(contributions, embedding, mlp), contributions, mlp
    )
    return write_shard(
        scan,
        task.shard,
        payload,
        fingerprint=fingerprint,
        members_sha256=_members(images),
        base_snapshot=task.base_snapshot,
        device=source.device,
        timing=Timing(),
    )


def _mlp_layers(manifest: ShardManifest) -> list[int]:
    candidates = (
        int(Path(f).parent.name.removeprefix("layer="))
        for f in manifest.files
        if f.endswith("mlp.parquet")
    )
    return sorted(layer for layer in candidates if mlp_path(layer) in manifest.files)


def _members(images: pa.Table) -> str:
    columns = (images[c].to_pylist() for c in ("image_id", "key", "fingerprint"))
    return members_digest({i: (key, mark) for i, key, mark in zip(*columns, strict=True)})


def _relabel(images: pa.Table, relabelled: Mapping[int, Member]) -> pa.Table:
    """Return the image rows with the label, metadata and uri of the members given."""
    if not relabelled:
        return images
    ids = images["image_id"].to_pylist()
    for name in ("uri", "label", "metadata"):
        values = [
            getattr(relabelled[i], name) if i in relabelled else old
            for i, old in zip(ids, images[name].to_pylist(), strict=True)
        ]
        at = images.schema.get_field_index(name)
        kind = images.schema.field(name)
        images = images.set_column(at, kind, pa.array(values, kind.type))
    return images


def _link(
    scan: ScanDir,
    task: CopyTask,
    source: ShardManifest,
    images: pa.Table,
    rejects: pa.Table,
    fingerprint: str,
) -> ShardManifest:
    """Make a shard with other image and reject rows; all other files are hard links."""
    aside = temporary_beside(scan.shard(task.shard))
    aside.mkdir(parents=True)
    try:
        rewritten = (IMAGES, REJECTS)
        for name in source.files:
            if name not in rewritten:
                target = aside / name
                target.parent.mkdir(exist_ok=True)
                _link_or_copy(scan.shard(task.source) / name, target)
        width = images.schema.field("embedding").type.list_size
        pq.write_table(images.cast(images_schema(width)), aside / IMAGES, **IMAGES_OPTIONS)
        pq.write_table(rejects, aside / REJECTS, **PARQUET)
        manifest = describe_shard(
            aside,
            shard=task.shard,
            fingerprint=fingerprint,
            members_sha256=_members(images),
            base_snapshot=task.base_snapshot,
            ids=images["image_id"].to_numpy(),
            known={n: f for n, f in source.files.items() if n not in rewritten},
            rejects=rejects.num_rows,
            layers=source.layers,
            n_heads=source.n_heads,
            device=source.device,
            timing=Timing(),
        )
        return install_shard(scan, aside, manifest)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _link_or_copy(source: Path, target: Path) -> None:
    """Link a file that never changes; copy it where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def compact(
    scan: ScanDir, shard_size: int, merge: Callable[[Iterable[pa.Table]], pa.Table]
) -> Snapshot | None:
    """Merge live shards into ones of up to `shard_size` pictures, and commit.

    Image_ids stay. Moments are merged by `merge`. Returns the new snapshot, the present one when
    nothing is small enough to merge, or None before the first commit.

    Raises:
        Locked: another run is writing this scan.
        StoreError: an interrupted run has left whole shards, which a new snapshot would give up.
    """
    with scan_lock(scan):
        snapshot = snapshots.latest(scan)
        if snapshot is None:
            return None
        groups = _groups(snapshot, shard_size)
        if all(len(group) == 1 for group in groups):
            return snapshot
        if left := adoptable(scan, snapshot.fingerprint, snapshot):
            raise StoreError(
                f"an interrupted run of {scan.name} has left {len(left)} whole shards; finish it "
                "first: run the same scan again"
            )
        manifests = [
            load_manifest(scan, group[0])
            if len(group) == 1
            else _merge(scan, group, snapshot, merge)
            for group in groups
        ]
        return snapshots.commit(
            scan,
            manifests,
            fingerprint=snapshot.fingerprint,
            next_image_id=snapshot.next_image_id,
            base_snapshot=snapshot.number,
        )


def _groups(snapshot: Snapshot, shard_size: int) -> list[list[str]]:
    """Gather small shards, in order, while they hold at most `shard_size` pictures together."""
    groups = [[live.shard] for live in snapshot.shards if live.rows >= shard_size]
    room = -1
    for live in snapshot.shards:
        if live.rows >= shard_size:
            continue
        if live.rows > room:
            groups.append([])
            room = shard_size
        groups[-1].append(live.shard)
        room -= live.rows
    return groups


def _merge(
    scan: ScanDir,
    group: Sequence[str],
    snapshot: Snapshot,
    merge: Callable[[Iterable[pa.Table]], pa.Table],
) -> ShardManifest:
    sources = [load_manifest(scan, shard) for shard in group]
    for source in sources:
        require_intact(scan, source)
    name = MERGED + digest([snapshot.fingerprint, snapshot.number, list(group)])[:16]
    images = read_images(scan, group)
    order = np.argsort(images["image_id"].to_numpy(), kind="stable")
    images = images.take(pa.array(order)).combine_chunks()
    filled = [m for m in sources if m.rows]
    contributions = {
        layer: np.concatenate([read_layer(scan, m.shard, layer).vectors for m in filled], axis=1)[
            :, order
        ]
        for layer in (filled[0].layers if filled else ())
    }
    mlp = {
        layer: np.concatenate([read_mlp(scan, m.shard, layer) for m in filled])[order]
        for layer in (_mlp_layers(filled[0]) if filled else ())
    }
    moments = merge(iterate_moments(scan, group))
    # a copy has no moments of what is not stored for each picture: then the whole has none
    moments = moments.filter(pc.equal(moments["n"], len(images)))
    kept = {what: read_sums(scan, [m.shard for m in filled], what) for what in SUMS}
    payload = ShardPayload(
        images,
        read_rejects(scan, group),
        moments,
        contributions,
        mlp,
        {what: sums for what, sums in kept.items() if sums is not None},
    )
    return write_shard(
        scan,
        name,
        payload,
        fingerprint=snapshot.fingerprint,
        members_sha256=_members(images),
        base_snapshot=snapshot.number,
        device=sources[0].device,
        timing=_summed(sources),
    )


def _summed(sources: Sequence[ShardManifest]) -> Timing:
    return Timing(**{n: sum(getattr(m.timing, n) for m in sources) for n in Timing.model_fields})
