"""A warehouse whose numbers are drawn, not scanned: for tests of the database and its benchmark."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from jaxtyping import Float16

from schemas.files import images_schema, moments_schema, rejects_schema, vector_of
from schemas.kinds import Part
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
from schemas.results import KINDS
from schemas.results.heads import heads_schema
from schemas.results.textspan import textspan_schema
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.results.claims import Now
from warehouse.results.files import write_result
from warehouse.store import snapshots
from warehouse.store.frame_table import keep_frames
from warehouse.store.pools import write_pool
from warehouse.store.reading import iterate_layer
from warehouse.store.shards import ShardPayload, write_shard

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


def images(
    first: int,
    count: int,
    d_joint: int,
    rng: np.random.Generator,
    metadata: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
) -> pa.Table:
    """Draw the rows of `count` pictures with image_id from `first`."""
    ids = np.arange(first, first + count)
    embedding = rng.standard_normal((count, d_joint), dtype=np.float32)
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    flat = pa.array(embedding.reshape(-1))
    listed = metadata or [
        json.dumps({"place": "water" if i % 2 else "land", "year": 2000 + i % 5, "half": i / 2})
        for i in range(first, first + count)
    ]
    columns = [
        pa.array(ids),
        pa.array(names or [f"birds/{i:07d}.png" for i in ids], pa.string()),
        pa.array(names or [f"/pictures/birds/{i:07d}.png" for i in ids], pa.string()),
        pa.array(np.full(count, 32, np.int32)),
        pa.array(np.full(count, 24, np.int32)),
        pa.array(names or [f"kind {i % 3}" for i in ids], pa.string()),
        pa.array(listed, pa.string()),
        pa.array(np.full(count, 1.5, np.float32)),
        pa.array(np.full(count, 10.0, np.float32)),
        pa.FixedSizeListArray.from_arrays(flat, type=vector_of(pa.float32(), d_joint)),
        pa.array([f"f{i}" for i in ids], pa.string()),
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


def draw(
    shape: Shape, count: int, rng: np.random.Generator
) -> Float16[np.ndarray, "head image d_head"]:
    """Draw one layer's contributions; each head has a mean of its own."""
    size = (shape.n_heads, count, shape.d_head)
    offset = np.arange(shape.n_heads, dtype=np.float32)[:, None, None] / 4
    return (rng.standard_normal(size, dtype=np.float32) + offset).astype(np.float16)


def add_shard(
    scan: ScanDir,
    shape: Shape,
    number: int,
    contributions: Mapping[int, Float16[np.ndarray, "head image d_head"]],
    rng: np.random.Generator,
    *,
    first: int,
    metadata: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
) -> ShardManifest:
    """Write a shard of pictures with image_id from `first`, and one reject."""
    count = next(iter(contributions.values())).shape[1]
    rows = images(first, count, shape.d_joint, rng, metadata, names)
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
    metadata: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
) -> ScanDir:
    """Write a whole scan of drawn pictures, its heads' means included, and commit it.

    `metadata` has a JSON object per picture, `names` its key, URI and label, in place of those
    drawn; one shard only.
    """
    shape = shape or Shape()
    rng = np.random.default_rng(seed)
    scan = Warehouse(root).create_scan(name)
    scan.save_record(record(name, shape, created_at))
    manifests = []
    for number, first in enumerate(range(0, pictures, shape.shard_size)):
        count = min(shape.shard_size, pictures - first)
        drawn = {layer: draw(shape, count, rng) for layer in shape.layers}
        manifests.append(
            add_shard(scan, shape, number, drawn, rng, first=first, metadata=metadata, names=names)
        )
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


def write_heads(scan: ScanDir, layers: Sequence[int] | None = None) -> None:
    """Store each head's mean over the live pictures, as a scan does; of some layers, or all."""
    snapshot = snapshots.latest(scan)
    assert snapshot is not None
    shards = [live.shard for live in snapshot.shards if live.rows]
    rows = [
        {
            "layer": layer,
            "head": head,
            "name": head_name(layer, head),
            "n": snapshot.images,
            "mean": mean,
            "mean_norm": float(np.linalg.norm(mean)),
            "variance": float(variance),
            "variance_share": 0.01 * head,
            "effective_rank": 3.0,
        }
        for layer in layers or scan.load_record().layers
        for head, (mean, variance) in enumerate(zip(*_summary(scan, shards, layer), strict=True))
    ]
    table = pa.Table.from_pylist(rows, schema=heads_schema())
    now = Now.of(scan)
    said = now.provenance(now.claim(KINDS["heads"]), created_at=CREATED)
    write_result(scan.heads, table, said)


def _summary(scan: ScanDir, shards: Sequence[str], layer: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each head's mean [head, d_head] and total variance [head], one shard at a time."""
    total, squares, count = 0.0, 0.0, 0
    for block in iterate_layer(scan, shards, layer):
        vectors = block.vectors.astype(np.float32)
        total = total + vectors.sum(axis=1, dtype=np.float64)
        squares = squares + np.square(vectors).sum(axis=(1, 2), dtype=np.float64)
        count += vectors.shape[1]
    mean = np.asarray(total) / count
    return mean, np.asarray(squares) / count - np.square(mean).sum(axis=1)


def write_frames(scan: ScanDir, seed: int = 3) -> dict[int, np.ndarray]:
    """Store drawn head frames for SQL; return Q [head, d_joint, d_head] by layer."""
    drawn, rng = scan.load_record(), np.random.default_rng(seed)
    size = (drawn.model.n_heads, drawn.model.d_joint, drawn.model.d_head)
    q = {layer: np.linalg.qr(rng.standard_normal(size))[0] for layer in drawn.layers}
    keep_frames(scan, drawn.frames_sha256, q)
    return q


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
    made_from = newest if snapshot is None else snapshots.load(scan, snapshot)
    now = Now(Warehouse(scan.path.parent.parent), scan, scan.load_record(), made_from)
    claim = now.claim(KINDS["textspan"], {Part.POOL: "words", Part.OPTIONS: {"m": steps}})
    provenance = now.provenance(
        claim, basis=basis, pool="words", m=steps, where=None, created_at=created_at
    )
    table = pa.Table.from_pylist(rows, schema=textspan_schema())
    write_result(scan.textspan / f"{basis}.parquet", table, provenance)
