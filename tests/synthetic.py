"""A warehouse whose numbers are drawn, not scanned: for tests of the database and its benchmark."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from schemas.files import (
    heads_schema,
    images_schema,
    moments_schema,
    rejects_schema,
    textspan_schema,
    vector_of,
)
from schemas.manifest import (
    ModelRecord,
    Preprocessing,
    ScanRecord,
    ShardManifest,
    Snapshot,
    Timing,
    members_digest,
)
from schemas.names import head_name
from warehouse import snapshots
from warehouse.layout import ScanDir, Warehouse
from warehouse.pools import write_pool
from warehouse.reading import iterate_layer
from warehouse.results import write_result
from warehouse.shards import ShardPayload, write_shard

CREATED: Final = "2026-01-01T00:00:00+00:00"


@dataclass(frozen=True)
class Shape:
    """Sizes of a synthetic scan; `layers` are those stored, of `n_layers`."""

    layers: tuple[int, ...] = (1, 2)
    n_layers: int = 3
    n_heads: int = 4
    d_head: int = 8
    d_joint: int = 12
    shard_size: int = 16


def record(name: str, shape: Shape, created_at: str) -> ScanRecord:
    """Return the record of a synthetic scan."""
    return ScanRecord(
        scan_id=name,
        dataset="synthetic",
        source="drawn",
        created_at=created_at,
        model=ModelRecord(
            model="synthetic",
            pretrained="none",
            weights_sha256="0" * 64,
            n_layers=shape.n_layers,
            n_heads=shape.n_heads,
            d_model=shape.n_heads * shape.d_head,
            d_head=shape.d_head,
            d_joint=shape.d_joint,
            pool="tok",
            preprocessing=Preprocessing(
                image_size=(32, 32),
                mean=(0.5, 0.5, 0.5),
                std=(0.5, 0.5, 0.5),
                interpolation="bicubic",
                resize_mode="shortest",
            ),
        ),
        model_path="synthetic",
        pretrained_path="none",
        layers=shape.layers,
        precision="fp32",
        stored=("head",),
        frames_sha256="0" * 64,
        versions={},
    )


def images(first: int, count: int, d_joint: int, rng: np.random.Generator) -> pa.Table:
    """Draw the rows of `count` pictures with image_id from `first`."""
    ids = np.arange(first, first + count)
    embedding = rng.standard_normal((count, d_joint), dtype=np.float32)
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    flat = pa.array(embedding.reshape(-1))
    metadata = [
        json.dumps({"place": "water" if i % 2 else "land", "year": 2000 + i % 5, "half": i / 2})
        for i in range(first, first + count)
    ]
    columns = [
        pa.array(ids),
        pa.array([f"birds/{i:07d}.png" for i in ids]),
        pa.array([f"/pictures/birds/{i:07d}.png" for i in ids]),
        pa.array(np.full(count, 32, np.int32)),
        pa.array(np.full(count, 24, np.int32)),
        pa.array([f"kind {i % 3}" for i in ids]),
        pa.array(metadata),
        pa.array(np.full(count, 1.5, np.float32)),
        pa.array(np.full(count, 10.0, np.float32)),
        pa.FixedSizeListArray.from_arrays(flat, type=vector_of(pa.float32(), d_joint)),
        pa.array([f"f{i}" for i in ids]),
    ]
    return pa.table(columns, schema=images_schema(d_joint))


def rejects(shard: int) -> pa.Table:
    """Return one rejected picture."""
    row = {
        "key": f"broken-{shard}.png",
        "uri": f"/pictures/broken-{shard}.png",
        "stage": "decode",
        "reason": "cannot identify image file",
        "fingerprint": "f",
    }
    return pa.Table.from_pylist([row], schema=rejects_schema())


def add_shard(
    scan: ScanDir, shape: Shape, number: int, count: int, rng: np.random.Generator, *, first: int
) -> ShardManifest:
    """Draw a shard of `count` pictures; vectors have a mean of their own per head."""
    rows = images(first, count, shape.d_joint, rng)
    size = (shape.n_heads, count, shape.d_head)
    offset = np.arange(shape.n_heads, dtype=np.float32)[:, None, None] / 4
    contributions = {
        layer: (rng.standard_normal(size, dtype=np.float32) + offset).astype(np.float16)
        for layer in shape.layers
    }
    members = {
        i: (k, f)
        for i, k, f in zip(
            rows["image_id"].to_pylist(),
            rows["key"].to_pylist(),
            rows["fingerprint"].to_pylist(),
            strict=True,
        )
    }
    payload = ShardPayload(
        rows, rejects(number), pa.Table.from_pylist([], moments_schema()), contributions, {}
    )
    return write_shard(
        scan,
        f"{number:06d}",
        payload,
        fingerprint=scan.load_record().fingerprint(),
        members_sha256=members_digest(members),
        base_snapshot=0,
        device="cpu",
        timing=Timing(),
    )


def write_scan(
    root: Path,
    name: str = "scan",
    pictures: int = 48,
    shape: Shape | None = None,
    *,
    seed: int = 0,
    created_at: str = CREATED,
) -> ScanDir:
    """Write a whole scan of drawn pictures, its heads' means included, and commit it."""
    shape = shape or Shape()
    rng = np.random.default_rng(seed)
    scan = Warehouse(root).create_scan(name)
    scan.save_record(record(name, shape, created_at))
    manifests = [
        add_shard(scan, shape, n, min(shape.shard_size, pictures - first), rng, first=first)
        for n, first in enumerate(range(0, pictures, shape.shard_size))
    ]
    commit(scan, manifests, pictures)
    write_heads(scan)
    return scan


def commit(scan: ScanDir, manifests: Sequence[ShardManifest], pictures: int) -> Snapshot:
    """Make these shards the live ones."""
    return snapshots.commit(
        scan,
        manifests,
        fingerprint=scan.load_record().fingerprint(),
        next_image_id=pictures,
    )


def write_heads(scan: ScanDir) -> None:
    """Store each head's mean over the live pictures, as a scan does after its commit."""
    snapshot = snapshots.latest(scan)
    assert snapshot is not None
    shards = [live.shard for live in snapshot.shards if live.rows]
    rows = []
    for layer in scan.load_record().layers:
        blocks = [b.vectors.astype(np.float64) for b in iterate_layer(scan, shards, layer)]
        for head, vectors in enumerate(np.concatenate(blocks, axis=1)):
            mean = vectors.mean(axis=0)
            rows.append(
                {
                    "layer": layer,
                    "head": head,
                    "name": head_name(layer, head),
                    "n": len(vectors),
                    "mean": mean,
                    "mean_norm": float(np.linalg.norm(mean)),
                    "variance": float(((vectors - mean) ** 2).sum(axis=1).mean()),
                    "variance_share": 0.01 * head,
                    "effective_rank": 3.0,
                }
            )
    table = pa.Table.from_pylist(rows, schema=heads_schema())
    write_result(scan.heads, table, {"snapshot": snapshot.number, "created_at": CREATED})


def write_texts(root: Path, pool: str = "words", count: int = 20) -> list[str]:
    """Write a pool of `count` descriptions and return them."""
    texts = [f"text {i}" for i in range(count)]
    about = [("colour", "place", None)[i % 3] for i in range(count)]
    write_pool(Warehouse(root), pool, texts, about, source="drawn", provenance={"drawn": True})
    return texts


def write_basis(
    scan: ScanDir,
    texts: Sequence[str],
    basis: str = "words",
    *,
    steps: int = 3,
    snapshot: int | None = None,
    created_at: str = CREATED,
    seed: int = 1,
) -> None:
    """Store a basis of drawn directions: text `head + rank` is picked at each rank."""
    newest = snapshots.latest(scan)
    assert newest is not None
    model, rng = scan.load_record().model, np.random.default_rng(seed)
    rows = [
        {
            "layer": layer,
            "head": head,
            "rank": rank,
            "description_id": head + rank,
            "text": texts[head + rank],
            "property": "colour",
            "variance": 1.0 / (rank + 1),
            "explained": 0.3,
            "cumulative": 0.3 * (rank + 1),
            "pca_cumulative": 0.32 * (rank + 1),
            "vector": rng.standard_normal(model.d_head).astype(np.float32) / 4,
        }
        for layer in scan.load_record().layers
        for head in range(model.n_heads)
        for rank in range(steps)
    ]
    provenance = {
        "basis": basis,
        "pool": "words",
        "m": steps,
        "where": None,
        "snapshot": newest.number if snapshot is None else snapshot,
        "created_at": created_at,
    }
    table = pa.Table.from_pylist(rows, schema=textspan_schema())
    write_result(scan.textspan / f"{basis}.parquet", table, provenance)
