"""A scan from files to stored shards, against reading and encoding the same pictures alone."""

import statistics
import time
from pathlib import Path

import torch

from benchmarks.rows import Row
from demo.world import materialise
from jobs.ray.here import Here
from jobs.ray.tasks import Work
from jobs.workers.scan import AHEAD, ScanWorker, WorkerSpec
from pipeline.heads.frames import head_frames
from pipeline.pictures.loader import Clock, batches
from pipeline.sources import list_members
from pipeline.sources.reader import Reader
from pipeline.towers.models import load_model
from schemas.manifest import ScanRecord, ShardManifest
from schemas.members import Member
from warehouse.files.layout import Warehouse, probe_write
from warehouse.store.plan import Live, plan_refresh

CONFIG = Path(__file__).parents[1] / "demo" / "small_clip.json"
BATCH, THREADS = 128, 2


def run(work: Path, pictures: int = 3000, rounds: int = 3) -> list[Row]:
    """Time both on the same pictures in turns, without Ray's start; the ratio is of medians."""
    listing = materialise("test", work / "pictures", pictures)
    members = list_members(str(listing), labels=None, path_column="img_filename", root=None).members
    plain, scan = [], []
    for turn in range(rounds + 1):
        plain.append(_encode(members))
        scan.append(_scan(members, work / f"warehouse-{turn}"))
    ratio = statistics.median(scan[1:]) / statistics.median(plain[1:])
    note = f"small CLIP, {pictures:,} pictures of 64 x 64, medians of {rounds}"
    files = (work / "warehouse-1").rglob("contributions.parquet")
    stored = sum(path.stat().st_size for path in files)
    record = Warehouse(work / "warehouse-1").scan("bench").load_record()
    per_head = stored / (pictures * len(record.layers) * record.model.n_heads)
    return [
        Row("scan, files to shards, over read and encode", ratio, "x", 1.10, note),
        Row(
            "bytes a picture and head over d_head",
            per_head / record.model.d_head,
            "x",
            2.2,
            "contributions.parquet, shards of 1,024",
        ),
        Row("pictures scanned a second", pictures / statistics.median(scan[1:]), "/s", None, note),
    ]


def _encode(members: tuple[Member, ...]) -> float:
    model = load_model(str(CONFIG), "none", device=torch.device("cpu"))
    started = time.perf_counter()
    with Reader() as reader, torch.inference_mode():
        loaded = batches(
            members,
            reader,
            model.transform,
            batch_size=BATCH,
            threads=THREADS,
            ahead=AHEAD * BATCH,
            clock=Clock(),
        )
        for batch in loaded:
            model.clip.encode_image(batch.pixels)
    return time.perf_counter() - started


def _scan(members: tuple[Member, ...], root: Path) -> float:
    model = load_model(str(CONFIG), "none", device=torch.device("cpu"))
    layers = tuple(range(model.record.n_layers))
    frames = head_frames(model.tower, layers)
    scan = Warehouse(root).create_scan("bench")
    record = ScanRecord(
        scan_id="bench",
        dataset="bench",
        source="",
        created_at="",
        model=model.record,
        model_path=str(CONFIG),
        pretrained_path="none",
        layers=layers,
        precision="fp32",
        stored=("head",),
        frames_sha256=frames.digest(),
        versions={},
    )
    scan.frames.write_bytes(frames.to_bytes())
    scan.save_record(record)
    spec = WorkerSpec(root, "bench", probe_write(root), str(CONFIG), "none", BATCH)
    worker, stored = ScanWorker(spec, THREADS), list[ShardManifest]()
    plan = plan_refresh(Live(), members, shard_size=1024, fingerprint=record.fingerprint())
    started = time.perf_counter()
    work = Work(lambda cpus: worker, plan.scans, stored.append, lambda done: None)
    failures = Here().run(work)
    seconds = time.perf_counter() - started
    if failures or sum(manifest.rows for manifest in stored) != len(members):
        raise RuntimeError(f"not all was stored: {failures}")
    return seconds
