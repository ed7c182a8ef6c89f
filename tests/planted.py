"""A scan whose heads do what is written here: colour, place or nothing, over known texts."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import synthetic

from pipeline.heads.moments import shard_moments, to_table
from pipeline.heads.stored_frames import Frames
from schemas.files import images_schema, vector_of
from schemas.manifest import Timing, members_digest
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.store import snapshots
from warehouse.store.pools import EmbeddedBy, write_embeddings, write_pool
from warehouse.store.shards import ShardPayload, write_shard

SHAPE = synthetic.Shape(layers=(1, 2), n_layers=3, n_heads=3, d_head=16, d_joint=48, shard_size=60)
VALUES = {"colour": ("red", "blue", "green", "white"), "place": ("sea", "wood", "town", "sky")}
# What head 0 and head 1 of each layer write; head 2 writes noise.
DOES = ("colour", "place", None)
PROPERTIES = ("colour", "place", "count", "shape", "light")


def write_planted(root: Path, pictures: int = 240, seed: int = 0) -> ScanDir:
    """Write the scan, and the pool `plain` with its embeddings."""
    rng = np.random.default_rng(seed)
    size = (len(SHAPE.layers), SHAPE.n_heads, SHAPE.d_joint, SHAPE.d_head)
    q = np.linalg.qr(rng.normal(size=size))[0]
    frames = Frames.stacked(
        q, np.broadcast_to(np.eye(16), (2, 3, 16, 16)).copy(), np.array(SHAPE.layers)
    )
    scan = Warehouse(root).create_scan("planted")
    record = synthetic.record("planted", SHAPE, "2026-01-01T00:00:00+00:00")
    record = record.model_copy(update={"frames_sha256": frames.digest()})
    scan.save_record(record)
    scan.frames.write_bytes(frames.to_bytes())

    directions = {p: _unit(rng.normal(size=(4, SHAPE.d_joint))) for p in PROPERTIES}
    _write_pool(root, record.model.weights_sha256, directions, rng)
    codes = {name: rng.integers(0, 4, pictures) for name in VALUES}
    manifests = []
    for number, first in enumerate(range(0, pictures, SHAPE.shard_size)):
        rows = slice(first, min(first + SHAPE.shard_size, pictures))
        here = {name: c[rows] for name, c in codes.items()}
        payload = _shard(here, directions, q, first, rng)
        ids = payload.images["image_id"].to_pylist()
        members = {i: (f"{i}.png", "f") for i in ids}
        manifests.append(
            write_shard(
                scan,
                f"{number:06d}",
                payload,
                fingerprint=record.fingerprint(),
                members_sha256=members_digest(members),
                base_snapshot=0,
                device="cpu",
                timing=Timing(),
            )
        )
    snapshots.commit(scan, manifests, fingerprint=record.fingerprint(), next_image_id=pictures)
    return scan


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def _write_pool(
    root: Path, weights: str, directions: dict[str, np.ndarray], rng: np.random.Generator
) -> None:
    texts, about, rows = [], [], []
    for name, values in directions.items():
        for value, direction in enumerate(values):
            for i in range(8):
                texts.append(f"{name} {value} said {i}")
                about.append(name)
                rows.append(direction + 0.08 * rng.normal(size=SHAPE.d_joint))
    warehouse = Warehouse(root)
    write_pool(warehouse, "plain", texts, about, source="planted", provenance={"planted": True})
    embeddings = _unit(np.array(rows)).astype(np.float32)
    write_embeddings(warehouse, "plain", EmbeddedBy(weights, "fp32"), embeddings)


def _shard(
    codes: dict[str, np.ndarray],
    directions: dict[str, np.ndarray],
    q: np.ndarray,
    first: int,
    rng: np.random.Generator,
) -> ShardPayload:
    count = len(codes["colour"])
    contributions = {}
    for i, layer in enumerate(SHAPE.layers):
        heads = 0.08 * rng.normal(size=(SHAPE.n_heads, count, SHAPE.d_head))
        for head, name in enumerate(DOES):
            if name is not None:
                heads[head] += directions[name][codes[name]] @ q[i, head]
        contributions[layer] = (heads / 10).astype(np.float16)
    joint = np.concatenate(
        [sum(contributions[ly][h] @ q[i, h].T for h in range(3)) for i, ly in enumerate((1, 2))]
    ).reshape(2, count, -1)
    embedding = _unit(joint.sum(axis=0) + 0.05 * rng.normal(size=(count, SHAPE.d_joint))).astype(
        np.float32
    )
    ids = np.arange(first, first + count)
    metadata = [
        json.dumps(
            {name: VALUES[name][c[i]] for name, c in codes.items()} | {"number": int(ids[i])}
        )
        for i in range(count)
    ]
    columns = [
        pa.array(ids),
        pa.array([f"{i}.png" for i in ids]),
        pa.array([f"/pictures/{i}.png" for i in ids]),
        pa.array(np.full(count, 32, np.int32)),
        pa.array(np.full(count, 32, np.int32)),
        pa.array([VALUES["colour"][c] for c in codes["colour"]]),
        pa.array(metadata),
        pa.array(np.ones(count, np.float32)),
        pa.array(np.ones(count, np.float32)),
        pa.FixedSizeListArray.from_arrays(
            pa.array(embedding.reshape(-1)), type=vector_of(pa.float32(), SHAPE.d_joint)
        ),
        pa.array(["f"] * count),
    ]
    table = pa.table(columns, schema=images_schema(SHAPE.d_joint))
    frames_q = {layer: q[i] for i, layer in enumerate(SHAPE.layers)}
    moments = to_table(shard_moments(contributions, embedding, {}, frames_q))
    return ShardPayload(table, synthetic.rejects(first), moments, contributions, {})
