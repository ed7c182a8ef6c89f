"""A drawn scan whose numbers belong together: embedding = Σ Q·vector + rest, and one head cheats.

Two classes along one direction of the joint space, in Waterbirds' columns: y, place, split. Head
L1H2 says the place, loudly, where it should say the bird; head L2H0 says the bird.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.heads import moments as mo
from pipeline.heads.stored_frames import Frames
from pipeline.heads.summary import heads_table
from schemas.files import images_schema, rejects_schema, vector_of
from schemas.manifest import Timing
from schemas.results.heads import heads_schema
from tests.synthetic import Shape, record
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.results.classifiers import Classifier
from warehouse.results.files import write_result
from warehouse.store import snapshots
from warehouse.store.shards import ShardPayload, write_shard

CHEAT, HONEST = (1, 2), (2, 0)
SHAPE = Shape(layers=(0, 1, 2), n_layers=3, n_heads=4, d_head=6, d_joint=16)
BIRDS = ("land bird", "water bird")


@dataclass(frozen=True)
class Planted:
    """The scan, and what was drawn: vectors are as stored, in float16."""

    root: Path
    scan: ScanDir
    frames: Frames
    embedding: np.ndarray
    vectors: dict[int, np.ndarray]
    y: np.ndarray
    place: np.ndarray
    split: np.ndarray
    classifier: Classifier


def weights(classes: int = 2, seed: int = 5) -> np.ndarray:
    """Return class weights: of two, each other's opposite."""
    rng = np.random.default_rng(seed)
    found = rng.standard_normal((classes, SHAPE.d_joint))
    if classes == 2:
        found[0] = -found[1]
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def frames(seed: int = 3) -> Frames:
    rng = np.random.default_rng(seed)
    size = (len(SHAPE.layers), SHAPE.n_heads, SHAPE.d_joint, SHAPE.d_head)
    q = np.linalg.qr(rng.standard_normal(size))[0]
    r = np.broadcast_to(np.eye(SHAPE.d_head), (*size[:2], SHAPE.d_head, SHAPE.d_head))
    return Frames.stacked(q, np.ascontiguousarray(r), np.asarray(SHAPE.layers, np.int64))


def plant(
    root: Path,
    name: str = "birds",
    pictures: int = 400,
    *,
    seed: int = 0,
    mlp: bool = False,
    spelling: str = "{}",
) -> Planted:
    """Draw and store a scan in two shards and a classifier's weights (not stored).

    `spelling` is how the listing writes places and splits, as `{}.0`; by default as numbers.
    """
    rng = np.random.default_rng(seed)
    found = frames()
    y, place = rng.integers(0, 2, pictures), rng.integers(0, 2, pictures)
    split = rng.choice([1, 2], pictures)
    direction = weights()[1].astype(np.float64)
    size = (SHAPE.n_heads, pictures, SHAPE.d_head)
    vectors = {}
    for at, layer in enumerate(SHAPE.layers):
        drawn = rng.standard_normal(size) * 0.02 + 0.05
        for head, says, size_of in ((CHEAT, place, 0.30), (HONEST, y, 0.12)):
            if head[0] == layer:
                along = found.q[at, head[1]].T @ direction
                along /= along @ along
                drawn[head[1]] += np.outer(says * 2 - 1, along) * size_of
        vectors[layer] = drawn.astype(np.float16)
    rest = rng.standard_normal((pictures, SHAPE.d_joint)) * 0.02
    rest -= 0.05 * found.q.sum(axis=(0, 1, 3))
    mlps = {
        layer: (rng.standard_normal((pictures, SHAPE.d_joint)) * 0.02).astype(np.float16)
        for layer in (SHAPE.layers if mlp else ())
    }
    total = rest + sum(
        np.einsum("hid,hjd->ij", vectors[layer].astype(np.float64), found.q[at])
        for at, layer in enumerate(SHAPE.layers)
    )
    embedding = (total + sum(m.astype(np.float64) for m in mlps.values())).astype(np.float32)
    scan = Warehouse(root).create_scan(name)
    stored = ("head", "mlp") if mlp else ("head",)
    scan.frames.write_bytes(found.to_bytes())
    scan.save_record(
        record(name, SHAPE, "2026-01-01T00:00:00+00:00").model_copy(
            update={"frames_sha256": found.digest(), "stored": stored}
        )
    )
    images = _images(embedding, y, place, split)
    if spelling != "{}":
        images = _respelled(images, spelling)
    manifests = []
    moments: dict[mo.Key, mo.Moments] = {}
    for number, rows in enumerate((slice(0, pictures // 3), slice(pictures // 3, pictures))):
        parts = {layer: v[:, rows] for layer, v in vectors.items()}
        some_mlps = {layer: m[rows] for layer, m in mlps.items()}
        q = {layer: found.q[at] for at, layer in enumerate(SHAPE.layers)}
        counted = mo.shard_moments(parts, embedding[rows], some_mlps, q)
        moments = {k: moments[k].merge(v) if k in moments else v for k, v in counted.items()}
        payload = ShardPayload(
            images.slice(rows.start, rows.stop - rows.start),
            rejects_schema().empty_table(),
            mo.to_table(counted),
            parts,
            some_mlps,
        )
        manifests.append(
            write_shard(
                scan,
                f"{number:06d}",
                payload,
                fingerprint=scan.load_record().fingerprint(),
                members_sha256="0" * 64,
                base_snapshot=0,
                device="cpu",
                timing=Timing(),
            )
        )
    snapshot = snapshots.commit(
        scan, manifests, fingerprint=scan.load_record().fingerprint(), next_image_id=pictures
    )
    said = {"snapshot": snapshot.number, "created_at": "2026-01-02T00:00:00+00:00"}
    write_result(scan.heads, heads_table(moments, heads_schema()), said)
    classifier = Classifier(
        "kinds", BIRDS, ("0", "1"), weights(), {**said, "label_column": "label"}
    )
    return Planted(root, scan, found, embedding, vectors, y, place, split, classifier)


def _respelled(images: pa.Table, spelling: str) -> pa.Table:
    rows = [json.loads(text) for text in images["metadata"].to_pylist()]
    written = [
        json.dumps({**row, **{c: spelling.format(row[c]) for c in ("place", "split")}})
        for row in rows
    ]
    at = images.schema.get_field_index("metadata")
    return images.set_column(at, images.schema.field(at), pa.array(written))


def _images(embedding: np.ndarray, y: np.ndarray, place: np.ndarray, split: np.ndarray) -> pa.Table:
    n = len(y)
    columns = {
        "image_id": np.arange(n),
        "key": [f"{i:05d}.png" for i in range(n)],
        "uri": [f"/pictures/{i:05d}.png" for i in range(n)],
        "width": np.full(n, 8, np.int32),
        "height": np.full(n, 8, np.int32),
        "label": [str(v) for v in y],
        "metadata": [
            json.dumps({"y": str(a), "place": int(b), "split": str(c)})
            for a, b, c in zip(y, place, split, strict=True)
        ],
        "sigma": np.ones(n, np.float32),
        "norm": np.ones(n, np.float32),
        "embedding": pa.FixedSizeListArray.from_arrays(
            pa.array(embedding.reshape(-1)), type=vector_of(pa.float32(), embedding.shape[1])
        ),
        "fingerprint": [f"f{i}" for i in range(n)],
    }
    schema = images_schema(embedding.shape[1])
    arrays = [
        c if isinstance(c, pa.Array) else pa.array(c, schema.field(k).type)
        for k, c in columns.items()
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def recomputed(planted: Planted, heads: list[tuple[int, int]]) -> np.ndarray:
    """Return embeddings with these heads' vectors replaced by their means, summed up anew."""
    found = planted.embedding.astype(np.float64)
    for layer, head in heads:
        vectors = planted.vectors[layer][head].astype(np.float64)
        q = planted.frames.q[SHAPE.layers.index(layer), head]
        found = found - vectors @ q.T + vectors.mean(axis=0) @ q.T
    return found
