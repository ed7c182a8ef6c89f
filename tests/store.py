"""A small store whose numbers follow from each picture's key and fingerprint, without a model.

So the right content of any warehouse is known from its listing alone, whatever its history.
"""

import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from schemas.files import images_schema, moments_schema, rejects_schema, vector_of
from schemas.manifest import (
    ModelRecord,
    Preprocessing,
    ScanRecord,
    ShardManifest,
    Snapshot,
    Timing,
)
from schemas.members import Member
from warehouse.files.atomic import sha256_file
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.store import snapshots
from warehouse.store.plan import Plan, ScanTask, live_members, plan_refresh
from warehouse.store.rewrite import copy_shards
from warehouse.store.shards import ShardPayload, load_manifest, write_shard

LAYERS, N_HEADS, D_HEAD, D_JOINT = (1, 3), 3, 4, 8
Parts = tuple[dict[int, np.ndarray], np.ndarray, dict[int, np.ndarray]]


def member(key: int, version: int = 0, label: str | None = None) -> Member:
    """Return picture `key` with the bytes of `version`."""
    return Member(f"{key:03d}.png", f"/pictures/{key:03d}.png", f"v{version}", label)


def new_scan(root: Path, name: str = "scan", stored: tuple[str, ...] = ("head", "mlp")) -> ScanDir:
    """Make an empty scan with its record."""
    scan = Warehouse(root).create_scan(name)
    scan.frames.write_bytes(b"frames")
    scan.save_record(
        ScanRecord(
            scan_id=name,
            dataset="drawn",
            source="drawn",
            created_at="2026-01-01T00:00:00+00:00",
            model=ModelRecord(
                model="drawn",
                pretrained="none",
                weights_sha256="0" * 64,
                n_layers=4,
                n_heads=N_HEADS,
                d_model=N_HEADS * D_HEAD,
                d_head=D_HEAD,
                d_joint=D_JOINT,
                pool="tok",
                preprocessing=Preprocessing(
                    image_size=(8, 8),
                    mean=(0.5,),
                    std=(0.5,),
                    interpolation="bicubic",
                    resize_mode="shortest",
                ),
            ),
            model_path="drawn",
            pretrained_path="none",
            layers=LAYERS,
            precision="fp32",
            stored=stored,
            frames_sha256=sha256_file(scan.frames),
            versions={},
        )
    )
    return scan


def numbers(members: Sequence[Member]) -> Parts:
    """Return contributions by layer, embeddings and MLPs by layer of these pictures."""
    seeds = [zlib.crc32(f"{m.key} {m.fingerprint}".encode()) for m in members]
    drawn = [np.random.default_rng(seed) for seed in seeds]
    size = (N_HEADS, len(members), D_HEAD)
    contributions = {layer: np.empty(size, np.float16) for layer in LAYERS}
    embedding = np.empty((len(members), D_JOINT), np.float32)
    mlp = {layer: np.empty((len(members), D_JOINT), np.float16) for layer in range(4)}
    for i, rng in enumerate(drawn):
        for layer in LAYERS:
            contributions[layer][:, i] = rng.standard_normal((N_HEADS, D_HEAD))
        vector = rng.standard_normal(D_JOINT)
        embedding[i] = vector / np.linalg.norm(vector)
        for rows in mlp.values():
            rows[i] = rng.standard_normal(D_JOINT)
    return contributions, embedding, mlp


def moments_of(
    contributions: Mapping[int, np.ndarray], embedding: np.ndarray, mlp: Mapping[int, np.ndarray]
) -> pa.Table:
    """Return the heads' moments of some pictures, without what the store does not look at."""
    rows = []
    for layer, heads in contributions.items():
        for head, v in enumerate(heads.astype(np.float64)):
            n, mean = len(v), v.mean(axis=0) if len(v) else np.zeros(v.shape[1])
            rows.append(moments_row(layer, head, n, mean, (v - mean).T @ (v - mean)))
    return pa.Table.from_pylist(rows, schema=moments_schema())


def moments_row(layer: int, head: int, n: int, mean: np.ndarray, m2: np.ndarray) -> dict:
    """Return one row of moments.parquet."""
    return {
        "component": "head",
        "layer": layer,
        "head": head,
        "n": n,
        "mean": mean.tolist(),
        "m2": m2.reshape(-1).tolist(),
        "embedding_mean": [0.0] * D_HEAD,
        "comoment": 0.0,
    }


def merge_moments(tables: Iterable[pa.Table]) -> pa.Table:
    """Merge moments by Chan's rule."""
    merged: dict[tuple[int, int], tuple[int, np.ndarray, np.ndarray]] = {}
    for row in (row for table in tables for row in table.to_pylist()):
        key = row["layer"], row["head"]
        n, mean, m2 = merged.get(key, (0, np.zeros(D_HEAD), np.zeros((D_HEAD, D_HEAD))))
        total = n + row["n"]
        if total:
            gap = np.array(row["mean"]) - mean
            m2 = m2 + np.array(row["m2"]).reshape(D_HEAD, D_HEAD)
            m2 = m2 + np.outer(gap, gap) * n * row["n"] / total
            mean = mean + gap * row["n"] / total
        merged[key] = total, mean, m2
    rows = [moments_row(*key, *values) for key, values in sorted(merged.items())]
    return pa.Table.from_pylist(rows, schema=moments_schema())


def payload(
    members: Sequence[Member], ids: Sequence[int], bad: Collection[str] = (), *, mlp: bool = True
) -> ShardPayload:
    """Return what a worker would store of these pictures; those whose key is in `bad` fail."""
    good = [(m, i) for m, i in zip(members, ids, strict=True) if m.key not in bad]
    contributions, embedding, every_mlp = numbers([m for m, _ in good])
    flat = pa.array(embedding.reshape(-1))
    rows = [
        pa.array([i for _, i in good], pa.int64()),
        *(pa.array([getattr(m, c) for m, _ in good], pa.string()) for c in ("key", "uri")),
        *(pa.array(np.full(len(good), size, np.int32)) for size in (32, 24)),
        *(pa.array([getattr(m, c) for m, _ in good], pa.string()) for c in ("label", "metadata")),
        *(pa.array(np.ones(len(good), np.float32)) for _ in range(2)),
        pa.FixedSizeListArray.from_arrays(flat, type=vector_of(pa.float32(), D_JOINT)),
        pa.array([m.fingerprint for m, _ in good], pa.string()),
    ]
    refused = [
        {
            "key": m.key,
            "uri": m.uri,
            "stage": "decode",
            "reason": "not a picture",
            "fingerprint": m.fingerprint,
        }
        for m in members
        if m.key in bad
    ]
    return ShardPayload(
        pa.table(rows, schema=images_schema(D_JOINT)),
        pa.Table.from_pylist(refused, schema=rejects_schema()),
        moments_of(contributions, embedding, every_mlp),
        contributions,
        every_mlp if mlp else {},
    )


def plan(scan: ScanDir, listing: Sequence[Member], shard_size: int = 5) -> Plan:
    """Plan a refresh of what is on disk."""
    fingerprint = scan.load_record().fingerprint()
    live = live_members(scan, fingerprint)
    return plan_refresh(live, listing, shard_size=shard_size, fingerprint=fingerprint)


def work(scan: ScanDir, task: ScanTask, bad: Collection[str] = ()) -> ShardManifest:
    """Scan one shard, as a worker would."""
    return write_shard(
        scan,
        task.shard,
        payload(task.members, task.image_ids, bad, mlp="mlp" in scan.load_record().stored),
        fingerprint=scan.load_record().fingerprint(),
        members_sha256=task.members_sha256,
        base_snapshot=task.base_snapshot,
        device="none",
        timing=Timing(model=1.0, wall=1.0),
    )


def changes_nothing(todo: Plan) -> bool:
    """Whether the stored shards are those of the newest snapshot already."""
    return not (todo.copies or todo.scans or todo.adopted or todo.dropped)


def refresh(
    scan: ScanDir, listing: Sequence[Member], bad: Collection[str] = (), shard_size: int = 5
) -> tuple[Plan, Snapshot]:
    """Bring the store up to date with the listing, and commit."""
    todo = plan(scan, listing, shard_size)
    fingerprint = scan.load_record().fingerprint()
    manifests = [load_manifest(scan, shard) for shard in todo.keep]
    manifests += copy_shards(scan, todo.copies, fingerprint=fingerprint, moments_of=moments_of)
    manifests += [work(scan, task, bad) for task in todo.scans]
    newest = snapshots.latest(scan)
    if newest is not None and changes_nothing(todo):
        return todo, newest
    snapshot = snapshots.commit(
        scan,
        manifests,
        fingerprint=fingerprint,
        next_image_id=todo.next_image_id,
        base_snapshot=todo.base_snapshot,
    )
    return todo, snapshot
