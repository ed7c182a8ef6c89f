"""TextSpan, roles and publish of a whole ViT-L-14 at a million pictures, after one night's shard.

Everything is real files, and the night is the commands themselves: 245 shards of 4,096 pictures
with embeddings of full width and the moments of 24 layers of 16 heads and of the other components,
all merged once; a pool with its embeddings; then one shard more. Before that the moments of all
other shards are deleted, so that a night that read them would fail. Contributions, 50 GB, are links
to one small file, which nothing here reads. Every shard has the same drawn moments, so that those
of all are known.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from benchmarks.rows import Row
from jobs.commands import textspan
from jobs.commands.roles import build as roles
from jobs.commands.roles.build import RolesConfig
from jobs.commands.textspan import TextSpanConfig
from jobs.steps.opened import open_scan
from jobs.steps.summary import store_heads
from pipeline.heads import moments as mo
from pipeline.heads.stored_frames import Frames
from schemas.files import MOMENTS
from schemas.manifest import ShardManifest, Snapshot, Timing, members_digest
from tests.synthetic import Shape, images, record, rejects
from warehouse.database.publish import publish
from warehouse.files.atomic import write_bytes
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.store import snapshots
from warehouse.store.pools import EmbeddedBy, write_embeddings, write_pool
from warehouse.store.shards import (
    ShardPayload,
    contributions_path,
    load_manifest,
    write_contributions,
    write_shard,
)

LAYERS, N_HEADS, WIDTH, JOINT, TEXTS, STEPS = 24, 16, 64, 768, 3500, 60
SHARDS, PICTURES = 245, 4096
SHAPE = Shape(tuple(range(LAYERS)), LAYERS, N_HEADS, WIDTH, JOINT, PICTURES)
POOL, NAME = "drawn", "million"

Made = TypeVar("Made")


def run(work: Path, shards: int = SHARDS) -> list[Row]:
    """Commit all but one night's shard, then time the night: merge, TextSpan, roles, publish."""
    first = build(work, shards - 1)
    size = f"{shards} shards, {shards * PICTURES:,} pictures, {LAYERS * N_HEADS} heads"
    return [*night(work, size), Row("first merge of all shards", first, "s", None, size)]


def build(work: Path, shards: int) -> float:
    """Make the warehouse before the night; return the seconds that merging all shards took."""
    rng = np.random.default_rng(0)
    warehouse = Warehouse(work / "warehouse")
    scan, table = _scan(warehouse, rng), _moments()
    snapshot = _commit(scan, [_add(scan, number, table, rng) for number in range(shards)])
    first, _ = _seconds(lambda: store_heads(scan, snapshot))
    _link_layers(scan, rng)
    publish(warehouse)
    return first


def night(work: Path, size: str) -> list[Row]:
    """Commit one shard more, and time what follows; `size` goes into the rows' notes."""
    rng = np.random.default_rng(2)
    scan, table = Warehouse(work / "warehouse").scan(NAME), _moments()
    before = open_scan(Warehouse(work / "warehouse"), NAME)
    manifests = [load_manifest(scan, shard) for shard in before.shards]
    manifests.append(_add(scan, len(manifests), table, rng))
    for shard in before.shards:
        (scan.shard(shard) / MOMENTS).unlink()
    snapshot = _commit(scan, manifests)
    _link_layers(scan, rng)
    merge, _ = _seconds(lambda: store_heads(scan, snapshot))
    root = before.warehouse.root
    span, _ = _seconds(lambda: textspan.run(TextSpanConfig(warehouse=root, pool=POOL, m=STEPS)))
    asked = RolesConfig(warehouse=root, attributes=False)
    labels, _ = _seconds(lambda: roles.run(asked.model_copy(update={"turns": 0})))
    turned, _ = _seconds(lambda: roles.run(asked))
    published, _ = _seconds(lambda: publish(before.warehouse))
    texts = f"{TEXTS} texts, {STEPS} picks"
    alone = f"the moments of {len(before.shards)} shards deleted before"
    split = f"merge {merge:.2f}, textspan {span:.2f}, roles {turned:.2f}, publish {published:.2f}"
    others = merge + span + published
    return [
        Row("TextSpan from moments", span, "s", 2.0, f"the command; {texts}"),
        Row("a night's results", others + turned, "s", 10.0, f"{split}; {size}"),
        Row("the same, roles by labels alone", others + labels, "s", 10.0, alone),
        Row("its moments, from those of all pictures", _difference(scan, table), "", 1e-12, size),
    ]


def _seconds(make: Callable[[], Made]) -> tuple[float, Made]:
    started = time.perf_counter()
    made = make()
    return time.perf_counter() - started, made


def _scan(warehouse: Warehouse, rng: np.random.Generator) -> ScanDir:
    """Make an empty scan with frames, and a pool that its model has embedded."""
    scan = warehouse.create_scan(NAME)
    q = np.linalg.qr(rng.normal(size=(LAYERS, N_HEADS, JOINT, WIDTH)))[0]
    frames = Frames.stacked(q, np.tile(np.eye(WIDTH), (LAYERS, N_HEADS, 1, 1)), np.arange(LAYERS))
    write_bytes(scan.frames, frames.to_bytes())
    made = record(scan.name, SHAPE, "2026-01-01T00:00:00+00:00")
    made = made.model_copy(update={"frames_sha256": frames.digest()})
    scan.save_record(made)
    names = [f"text {i}" for i in range(TEXTS)]
    about = [f"property {i}" for i in rng.integers(0, 20, TEXTS)]
    write_pool(warehouse, POOL, names, about, source="drawn", provenance={"drawn": True})
    texts = rng.normal(size=(TEXTS, JOINT))
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    write_embeddings(warehouse, POOL, EmbeddedBy(made.model.weights_sha256, made.precision), texts)
    return scan


def _difference(scan: ScanDir, table: pa.Table) -> float:
    """Return how far the heads' covariances are, relatively, from those of every shard."""
    whole, one = open_scan(Warehouse(scan.path.parent.parent), scan.name), mo.from_table(table)
    return max(
        float(np.abs(whole.covariance(*head) - one["head", *head].covariance).max())
        / float(np.abs(one["head", *head].covariance).max())
        for head in whole.heads
    )


def _moments() -> pa.Table:
    """Draw the moments of one shard, always the same: all heads and the other components."""
    rng = np.random.default_rng(1)
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
