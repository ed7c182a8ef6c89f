"""Ablating heads over 50,000 pictures: two classes in SQL, a thousand classes streaming.

The warehouse is drawn: the last four layers of a model of 24 layers of 16 heads, d_head 64, d_joint
768, as of a ViT-L-14. Vectors are normal noise; only sizes matter here.
"""

import statistics
import time
from pathlib import Path

import duckdb
import numpy as np
import psutil

from benchmarks.peak import peak_bytes
from benchmarks.rows import Row
from jobs.steps.ablated import open_scene
from jobs.steps.logits import store_logits
from jobs.steps.opened import opened
from jobs.steps.summary import store_heads
from jobs.steps.whatif import ablate_sets, random_sets
from pipeline.heads import moments as mo
from pipeline.heads.stored_frames import Frames
from schemas.files import rejects_schema
from schemas.kinds import Part
from schemas.manifest import Timing
from schemas.names import head_name
from schemas.results import KINDS
from schemas.results.classifiers import CLASSIFIERS
from schemas.results.head_logits import HEAD_LOGITS
from schemas.results.image_logits import IMAGE_LOGITS
from tests.synthetic import Shape, images, record
from warehouse.database.publish import publish
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.results.claims import Now
from warehouse.results.classifiers import Classifier
from warehouse.store import snapshots
from warehouse.store.shards import ShardPayload, load_manifest, write_shard

THREADS, REPEATS = 2, 7
SHAPE = Shape(
    layers=(20, 21, 22, 23), n_layers=24, n_heads=16, d_head=64, d_joint=768, shard_size=4096
)
NAMES = [head_name(layer, head) for layer in SHAPE.layers for head in range(SHAPE.n_heads)]
MANY = 1000
CONTROL = 10


def run(work: Path, pictures: int = 50_000) -> list[Row]:
    """Build the warehouse below `work`, which the caller deletes, and time ablations."""
    warehouse = Warehouse(work / "warehouse")
    scan = build(warehouse, pictures)
    size = f"{pictures:,} pictures x {len(SHAPE.layers) * SHAPE.n_heads} heads"
    rows = [_zeroshot(scan, "two", 2, size), *ask(warehouse, size)]
    rows.append(_zeroshot(scan, "many", MANY, size))
    return [*rows, *stream(warehouse, size)]


def build(warehouse: Warehouse, pictures: int, shape: Shape = SHAPE) -> ScanDir:
    """Write the scan; shards repeat one drawn block of vectors, each in another order."""
    rng = np.random.default_rng(0)
    scan = warehouse.create_scan("drawn")
    size = (len(shape.layers), shape.n_heads, shape.d_joint, shape.d_head)
    q = np.linalg.qr(rng.standard_normal(size))[0]
    r = np.broadcast_to(np.eye(shape.d_head), (*size[:2], shape.d_head, shape.d_head))
    frames = Frames.stacked(q, np.ascontiguousarray(r), np.asarray(shape.layers, np.int64))
    scan.frames.write_bytes(frames.to_bytes())
    said = record(scan.name, shape, "2026-01-01T00:00:00+00:00")
    scan.save_record(said.model_copy(update={"frames_sha256": frames.digest()}))
    grow(scan, shape, pictures)
    return scan


def grow(scan: ScanDir, shape: Shape, pictures: int) -> None:
    """Add drawn pictures to a scan, and commit them."""
    rng = np.random.default_rng(1)
    fingerprint = scan.load_record().fingerprint()
    before = snapshots.latest(scan)
    next_id = before.next_image_id if before is not None else 0
    manifests = [load_manifest(scan, s.shard) for s in before.shards] if before is not None else []
    drawn = rng.standard_normal((len(shape.layers), shape.n_heads, shape.shard_size, shape.d_head))
    block = (drawn * 0.01).astype(np.float16)
    for first in range(next_id, next_id + pictures, shape.shard_size):
        count = min(shape.shard_size, next_id + pictures - first)
        order = rng.permutation(shape.shard_size)[:count]
        parts = {layer: block[at][:, order] for at, layer in enumerate(shape.layers)}
        counted = {
            ("head", layer, head): _moments(vectors)
            for layer, heads in parts.items()
            for head, vectors in enumerate(heads)
        }
        counted["embedding", -1, -1] = mo.Moments(
            count, np.zeros(shape.d_joint), np.ones((1, 1)), np.zeros(shape.d_joint), 0.0
        )
        payload = ShardPayload(
            images(first, count, shape.d_joint, rng),
            rejects_schema().empty_table(),
            mo.to_table(counted),
            parts,
            {},
        )
        manifests.append(
            write_shard(
                scan,
                f"{first:09d}",
                payload,
                fingerprint=fingerprint,
                members_sha256="0" * 64,
                base_snapshot=0 if before is None else before.number,
                device="cpu",
                timing=Timing(),
            )
        )
    snapshot = snapshots.commit(
        scan, manifests, fingerprint=fingerprint, next_image_id=next_id + pictures
    )
    store_heads(scan, snapshot)


def _moments(vectors: np.ndarray) -> mo.Moments:
    mean = vectors.astype(np.float64).mean(axis=0)
    return mo.Moments(len(vectors), mean, np.eye(len(mean)), np.zeros(len(mean)), 0.0)


def _zeroshot(scan: ScanDir, name: str, classes: int, size: str) -> Row:
    """Time `classify`."""
    started = time.perf_counter()
    classify(scan, name, classes)
    return Row(f"zeroshot, {classes} classes", time.perf_counter() - started, "s", None, size)


def classify(scan: ScanDir, name: str, classes: int) -> None:
    """Store a classifier of random weights whose labels the pictures carry."""
    now = Now.of(scan)
    assert now.snapshot is not None
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((classes, scan.load_record().model.d_joint)).astype(np.float32)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    labels = tuple(f"kind {i}" for i in range(classes))
    given = {Part.CLASSES: labels, Part.OPTIONS: {"drawn": True}}
    said = {
        kind: now.provenance(now.claim(KINDS[kind], given))
        for kind in (CLASSIFIERS, IMAGE_LOGITS, HEAD_LOGITS)
    }
    found = opened(scan, now.snapshot)
    store_logits(found, Classifier(name, labels, labels, weights, said[CLASSIFIERS]), (), said)


def ask(warehouse: Warehouse, size: str) -> list[Row]:
    """Time the macros over two classes: one head, half of them, all."""
    seconds = publish(warehouse).seconds
    rows = [Row("publish with two classes' logits", seconds, "s", None, size)]
    questions = {
        "ablate": "SELECT count(*), sum(correct_after::INTEGER) FROM ablate('two', $heads)",
        "group_accuracy": "FROM group_accuracy('two', $heads, by := ['label', 'place'])",
    }
    with duckdb.connect(str(warehouse.database.resolve()), read_only=True) as con:
        con.execute(f"SET threads = {THREADS}")
        for macro, question in questions.items():
            for heads in (1, 32, 64):
                wall, cpu = _ask(con, question, NAMES[:heads])
                note = f"{size} x 2 classes; {THREADS} threads; CPU {cpu:.3f} s"
                rows.append(Row(f"{macro}, {heads} heads, SQL", wall, "s", 0.2, note))
    return rows


def _ask(con: duckdb.DuckDBPyConnection, question: str, heads: list[str]) -> tuple[float, float]:
    con.execute(question, {"heads": heads}).fetchall()
    wall, cpu = [], []
    for _ in range(REPEATS):
        started, used = time.perf_counter(), time.process_time()
        con.execute(question, {"heads": heads}).fetchall()
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    return statistics.median(wall), statistics.median(cpu)


def stream(warehouse: Warehouse, size: str) -> list[Row]:
    """Time ablating four heads over a thousand classes, beside ten random sets."""
    process = psutil.Process()
    before = process.memory_info().rss
    started, used = time.perf_counter(), time.process_time()
    scene = open_scene(warehouse, None, "many", ("label", "place"))
    chosen = scene.heads[-4:]
    ablate_sets(scene, [chosen, *random_sets(scene.heads, chosen, CONTROL, 0)])
    wall, cpu = time.perf_counter() - started, time.process_time() - used
    peak = peak_bytes() / 1e9
    note = f"{size} x {MANY} classes; 4 heads, {CONTROL} random sets; CPU {cpu:.0f} s"
    return [
        Row("ablate, 1,000 classes, streaming", wall, "s", 60, note),
        Row("its peak memory, whole process", peak, "GB", 2, f"{before / 1e9:.2f} GB before it"),
    ]
