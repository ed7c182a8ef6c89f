"""TextSpan, roles and publish of a whole ViT-L-14 at a million pictures, after one night's shard.

Moments are real files: 245 shards of 4,096 pictures, each with the moments of 24 layers of 16 heads
and of the other components, merged as a scan merges them. Contributions are links to one small file
and embeddings are narrow, since nothing here may read them; the shards that are opened are counted.
Every shard has the same drawn moments.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.rows import Row
from jobs.steps.opened import opened
from jobs.steps.summary import store_heads
from pipeline.heads import moments as mo
from pipeline.heads.textspan import textspan
from pipeline.roles.enrichment import enrichment, property_codes
from pipeline.roles.rotation_null import turned
from schemas.manifest import ShardManifest, Snapshot, Timing, members_digest
from tests.synthetic import Shape, images, record, rejects
from warehouse.database.publish import publish
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.store import snapshots
from warehouse.store.shards import (
    ShardPayload,
    contributions_path,
    write_contributions,
    write_shard,
)

LAYERS, N_HEADS, WIDTH, JOINT, TEXTS, STEPS = 24, 16, 64, 768, 3500, 60
SHARDS, PICTURES = 245, 4096
SHAPE = Shape(tuple(range(LAYERS)), LAYERS, N_HEADS, WIDTH, 8, PICTURES)
# Heads of the rotation null that are timed; the figure is scaled to all of them.
TURNED = 24


def run(work: Path, shards: int = SHARDS) -> list[Row]:
    """Commit all but one night's shard, then time the night: merge, TextSpan, roles, publish."""
    rng = np.random.default_rng(0)
    warehouse = Warehouse(work / "warehouse")
    scan = warehouse.create_scan("million")
    scan.save_record(record(scan.name, SHAPE, "2026-01-01T00:00:00+00:00"))
    table = _moments(rng)
    manifests = [_add(scan, number, table, rng) for number in range(shards - 1)]
    started = time.perf_counter()
    store_heads(scan, _commit(scan, manifests))
    first = time.perf_counter() - started
    manifests.append(_add(scan, shards - 1, table, rng))
    frames = np.linalg.qr(rng.normal(size=(LAYERS * N_HEADS, JOINT, WIDTH)))[0]
    texts = rng.normal(size=(TEXTS, JOINT))
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    labels = [f"p{i}" for i in rng.integers(0, 20, TEXTS)]
    size = f"{shards} shards, {shards * PICTURES:,} pictures, {LAYERS * N_HEADS} heads"
    snapshot = _commit(scan, manifests)
    seconds: dict[str, float] = {}
    with _opened_files(scan.shards) as read:
        started = time.perf_counter()
        store_heads(scan, snapshot)
        seconds["merge"] = time.perf_counter() - started
        found = opened(scan, snapshot)
        covariance = [found.covariance(*head) for head in found.heads]
        seconds["open"] = time.perf_counter() - started - seconds["merge"]
        started = time.perf_counter()
        basis = textspan(covariance, frames, texts, STEPS)
        seconds["textspan"] = time.perf_counter() - started
        started = time.perf_counter()
        enrichment(basis.picks, basis.explained, labels, permutations=10_000)
        seconds["enrichment"] = time.perf_counter() - started
    others = read - {manifests[-1].shard}
    started = time.perf_counter()
    turned(
        covariance[:TURNED],
        frames[:TURNED],
        texts,
        basis.picks[:TURNED],
        basis.explained[:TURNED],
        property_codes(labels)[1],
    )
    null = (time.perf_counter() - started) * len(covariance) / TURNED
    _link_layers(scan, rng)
    published = publish(warehouse).seconds
    night = sum(seconds.values()) + published
    note = ", ".join(f"{name} {value:.2f}" for name, value in seconds.items())
    texts_note = f"{TEXTS} texts, {STEPS} picks"
    null_note = f"{TURNED} heads timed, scaled; 128 rotations"
    split = f"{note}, publish {published:.2f}; {size}"
    return [
        Row("TextSpan from moments", seconds["textspan"], "s", 2.0, texts_note),
        Row("a night's results, but the rotation null", night, "s", 10.0, split),
        Row("old shards that were opened", len(others), "", 0, "moments of lone neighbours"),
        Row("roles' rotation null", null, "s", None, null_note),
        Row("first merge of all shards", first, "s", None, size),
    ]


def _moments(rng: np.random.Generator) -> pa.Table:
    """Draw the moments of one shard: all heads and the other components."""
    found: dict[mo.Key, mo.Moments] = {}
    for layer in range(LAYERS):
        mixed = rng.normal(size=(N_HEADS, WIDTH, WIDTH)) * PICTURES**0.5 / WIDTH
        m2 = mixed @ mixed.transpose(0, 2, 1)
        for head in range(N_HEADS):
            mean, e = rng.normal(size=(2, WIDTH))
            found["head", layer, head] = mo.Moments(PICTURES, mean, m2[head], e, 1.0)
        for kind in ("mlp", "bias"):
            found[kind, layer, -1] = _joint(rng)
    for kind in ("init", "const", "embedding"):
        found[kind, -1, -1] = _joint(rng)
    return mo.to_table(found)


def _joint(rng: np.random.Generator) -> mo.Moments:
    mean, e = rng.normal(size=(2, JOINT))
    return mo.Moments(PICTURES, mean, np.array([[float(PICTURES)]]), e, 1.0)


def _add(scan: ScanDir, number: int, table: pa.Table, rng: np.random.Generator) -> ShardManifest:
    rows = images(number * PICTURES, PICTURES, SHAPE.d_joint, rng)
    keys, marks = rows["key"].to_pylist(), rows["fingerprint"].to_pylist()
    ids = rows["image_id"].to_pylist()
    members = {i: (key, mark) for i, key, mark in zip(ids, keys, marks, strict=True)}
    return write_shard(
        scan,
        f"{number:06d}",
        ShardPayload(rows, rejects(number), table, {}, {}),
        fingerprint=scan.load_record().fingerprint(),
        members_sha256=members_digest(members),
        base_snapshot=0,
        device="cpu",
        timing=Timing(),
    )


def _commit(scan: ScanDir, manifests: list[ShardManifest]) -> Snapshot:
    return snapshots.commit(
        scan,
        manifests,
        fingerprint=scan.load_record().fingerprint(),
        next_image_id=len(manifests) * PICTURES,
    )


def _link_layers(scan: ScanDir, rng: np.random.Generator) -> None:
    """Give every shard the files that views list: links to one small one, which nothing reads."""
    small = scan.path / "small.parquet"
    heads = rng.normal(size=(N_HEADS, 4, WIDTH)).astype(np.float16)
    write_contributions(small, 0, np.arange(4), heads)
    for shard in scan.shards.iterdir():
        for layer in range(LAYERS):
            path = shard / contributions_path(layer)
            if not path.exists():
                path.parent.mkdir()
                path.hardlink_to(small)


@contextmanager
def _opened_files(folder: Path) -> Iterator[set[str]]:
    """Collect the shards below `folder` of which a Parquet file is opened."""
    found: set[str] = set()

    def noted(read: Callable[..., Any]) -> Callable[..., Any]:
        def reading(source: Any, *args: Any, **options: Any) -> Any:
            if isinstance(source, Path) and source.is_relative_to(folder):
                found.add(source.relative_to(folder).parts[0])
            return read(source, *args, **options)

        return reading

    with (
        patch.object(pq, "read_table", noted(pq.read_table)),
        patch.object(pq, "ParquetFile", noted(pq.ParquetFile)),
    ):
        yield found
