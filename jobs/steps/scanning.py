"""A data set's contributions, head by head, on disk: the work of `headatlas scan`.

What is listed is compared with what is stored; what is new or changed is scanned, and a new
snapshot committed. Killed at any moment, the same command goes on where it was.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import torch

from jobs import console
from jobs.commands.scan import ScanConfig, ScanResult
from jobs.ray.choose import open_pool
from jobs.ray.tasks import Cut, Failure, Pool, Work
from jobs.steps.decoding import as_new
from jobs.steps.reject_reasons import reject_reasons
from jobs.steps.sanity import sanity_check
from jobs.steps.summary import store_heads
from jobs.workers.scan import ScanWorker, WorkerSpec, reject_shard
from pipeline.heads import moments as mo
from pipeline.heads.frames import head_frames
from pipeline.heads.stored_frames import Frames, load_frames
from pipeline.heads.through import check_gated
from pipeline.heads.watches import watches
from pipeline.sources import Listing
from pipeline.towers.models import LoadedModel, load_model
from schemas.errors import RunFailed
from schemas.manifest import ScanRecord, ShardManifest, Snapshot, Timing
from schemas.names import NO_WEIGHTS, check_name, safe_name, scan_name
from schemas.text import how_many
from warehouse.files.atomic import write_bytes
from warehouse.files.layout import ScanDir, Warehouse, probe_remove, probe_write
from warehouse.files.lock import scan_lock
from warehouse.store import snapshots
from warehouse.store.estimate import bytes_to_store
from warehouse.store.frame_table import keep_frames
from warehouse.store.gc import delete_shard
from warehouse.store.plan import Plan, ScanTask, halves, holds_the_same, live_members, plan_refresh
from warehouse.store.rewrite import copy_shards
from warehouse.store.shards import load_manifest

LIBRARIES = ("headatlas", "torch", "open_clip_torch", "pyarrow", "numpy", "ray")


def scan_listed(config: ScanConfig, listing: Listing, *, dry_run: bool) -> ScanResult:
    """Bring the scan up to date with what is listed; see `jobs.commands.scan.run`."""
    model = load_model(
        config.model, config.pretrained, config.precision, device=torch.device("cpu")
    )
    for line in model.warnings:
        console.warn(line)
    layers = model.record.layers_of(config.layers)
    if config.pool_mlp == "gated":
        check_gated(model.tower)
    warehouse = Warehouse(config.warehouse.expanduser().absolute())
    dataset = check_name(config.dataset or safe_name(Path(config.source).stem), "dataset")
    name = config.scan or scan_name(dataset, model.record.model, model.record.weights_sha256)
    if dry_run:
        return _dry_run(warehouse, check_name(name, "scan"), config, model, layers, listing)
    with ExitStack() as stack:
        scan = warehouse.create_scan(name)
        stack.enter_context(scan_lock(scan))
        if config.restart:
            _forget(scan)
        frames, record = _open(scan, config, dataset, model, layers)
        result, snapshot, failures = _refresh(scan, config, record, frames, listing, stack)
        sanity_check(scan, record, snapshot, model)
    _judge(result, failures)
    return result


def _open(
    scan: ScanDir, config: ScanConfig, dataset: str, model: LoadedModel, layers: tuple[int, ...]
) -> tuple[Frames, ScanRecord]:
    """Return the scan's frames and record: those stored, or new ones, written."""
    if scan.record.exists():
        stored = scan.load_record()
        frames = load_frames(scan.frames, stored.frames_sha256)
        asked = _record(scan.name, config, dataset, model, layers, stored.frames_sha256, stored)
        scan.require_same(asked)
        keep_frames(scan, stored.frames_sha256, frames.narrow())
        return frames, stored
    watches(model.tower, config.store, layers)
    frames = head_frames(model.tower, layers, gated=config.pool_mlp == "gated")
    record = _record(scan.name, config, dataset, model, layers, frames.digest())
    write_bytes(scan.frames, frames.to_bytes())
    keep_frames(scan, record.frames_sha256, frames.narrow())
    scan.save_record(record)
    return frames, record


def _record(
    name: str,
    config: ScanConfig,
    dataset: str,
    model: LoadedModel,
    layers: tuple[int, ...],
    frames_sha256: str,
    stored: ScanRecord | None = None,
) -> ScanRecord:
    """Return what the scan is; a stored one keeps its way of decoding, unless told another."""
    given = model.record.preprocessing
    preprocessing = (
        as_new(given)
        if stored is None
        else given.model_copy(
            update={
                "decode": stored.model.preprocessing.decode,
                "transparent": stored.model.preprocessing.transparent,
            }
        )
    )
    if config.decode is not None:
        preprocessing = preprocessing.model_copy(update={"decode": config.decode})
    return ScanRecord(
        scan_id=name,
        dataset=dataset,
        source=config.source,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        model=model.record.model_copy(update={"preprocessing": preprocessing}),
        model_path=_absolute(config.model),
        pretrained_path=_absolute(config.pretrained),
        layers=layers,
        pool_mlp=config.pool_mlp,
        precision=config.precision,
        residual=_residual(config, stored),
        stored=("head", *sorted(set(config.store))),
        frames_sha256=frames_sha256,
        versions={library: version(library) for library in LIBRARIES},
    )


def _residual(config: ScanConfig, stored: ScanRecord | None) -> Literal["fp32"] | None:
    """Return the residual stream of a half-precision scan; a stored one keeps its own."""
    if config.precision == "fp32":
        return None
    return "fp32" if stored is None else stored.residual


def _absolute(given: str) -> str:
    """Return a file's absolute path; names, tags and `none` as they are."""
    if given.startswith("local-dir:"):
        return f"local-dir:{Path(given.removeprefix('local-dir:')).resolve()}"
    return str(Path(given).resolve()) if given != NO_WEIGHTS and Path(given).is_file() else given


def _forget(scan: ScanDir) -> None:
    """Start a scan anew: an empty snapshot, no record.

    Shards stay until gc, for readers of published versions; ids go on from where they were. Results
    stay too: by their claims they are not of what comes now, unless it is the same again.
    """
    newest = snapshots.latest(scan)
    if newest is not None:
        snapshots.commit(scan, [], fingerprint="restarted", next_image_id=newest.next_image_id)
    scan.record.unlink(missing_ok=True)
    scan.frames.unlink(missing_ok=True)


def _plan(scan: ScanDir | None, config: ScanConfig, fingerprint: str, listing: Listing) -> Plan:
    """Compare the source with what is stored under this configuration."""
    return plan_refresh(
        live_members(scan, fingerprint),
        listing.members,
        shard_size=config.shard_size,
        fingerprint=fingerprint,
        retry_rejects=config.retry_rejects,
    )


def _dry_run(
    warehouse: Warehouse,
    name: str,
    config: ScanConfig,
    model: LoadedModel,
    layers: tuple[int, ...],
    listing: Listing,
) -> ScanResult:
    """Say what a scan would do and how many bytes it would add; nothing is written."""
    scan = warehouse.scan(name) if name in warehouse.scans() else None
    digest = scan.load_record().frames_sha256 if scan else ""
    stored = scan.load_record() if scan is not None and not config.restart else None
    record = _record(name, config, safe_name(name), model, layers, digest, stored)
    if scan is not None and stored is not None:
        scan.require_same(record)
    plan = _plan(None if config.restart else scan, config, record.fingerprint(), listing)
    todo = [len(task.members) for task in plan.scans]
    return ScanResult(
        scan=name,
        snapshot=None,
        images=len(listing.members),
        rejects=0,
        scanned=sum(todo),
        reused=plan.unchanged,
        vanished=plan.vanished,
        bytes=bytes_to_store(record, todo),
    )


def _refresh(
    scan: ScanDir,
    config: ScanConfig,
    record: ScanRecord,
    frames: Frames,
    listing: Listing,
    stack: ExitStack,
) -> tuple[ScanResult, Snapshot, list[Failure[ScanTask]]]:
    """Bring the scan up to date with the listing, and commit."""
    fingerprint = record.fingerprint()
    plan = _plan(scan, config, fingerprint, listing)
    if plan.adopted:
        console.note(f"resuming: an interrupted run finished {how_many(plan.adopted, 'picture')}")
    frames_q = frames.narrow()

    def moments_of(
        contributions: Mapping[int, np.ndarray],
        embedding: np.ndarray,
        mlp: Mapping[int, np.ndarray],
    ) -> pa.Table:
        return mo.to_table(mo.shard_moments(contributions, embedding, mlp, frames_q))

    manifests = [load_manifest(scan, shard) for shard in plan.keep]
    manifests += copy_shards(scan, plan.copies, fingerprint=fingerprint, moments_of=moments_of)
    fresh, failures = _run_tasks(scan, config, record, frames, plan.scans, stack)
    manifests += fresh
    snapshot = _commit(scan, manifests, fingerprint, plan)
    store_heads(scan, snapshot)
    scanned = sum(m.rows + m.rejects for m in fresh)
    result = ScanResult(
        scan=scan.name,
        snapshot=snapshot.number,
        images=snapshot.images,
        rejects=snapshot.rejects,
        scanned=scanned,
        reused=snapshot.images + snapshot.rejects - scanned,
        vanished=plan.vanished,
        bytes=sum(f.bytes for m in fresh for f in m.files.values()),
        timing=_total(fresh),
        reasons=reject_reasons(scan),
    )
    return result, snapshot, failures


def _commit(
    scan: ScanDir, manifests: Sequence[ShardManifest], fingerprint: str, plan: Plan
) -> Snapshot:
    """Commit the shards, unless the newest snapshot holds the same already."""
    newest = snapshots.latest(scan)
    if newest is not None and newest.fingerprint == fingerprint:
        mine = {m.shard for m in manifests}
        if holds_the_same(scan, newest, mine):
            # left behind, they would be taken for those of an interrupted run
            for shard in sorted(mine - {live.shard for live in newest.shards}):
                delete_shard(scan.shard(shard))
            return newest
    return snapshots.commit(
        scan,
        manifests,
        fingerprint=fingerprint,
        next_image_id=plan.next_image_id,
        base_snapshot=plan.base_snapshot,
    )


def _run_tasks(
    scan: ScanDir,
    config: ScanConfig,
    record: ScanRecord,
    frames: Frames,
    tasks: Sequence[ScanTask],
    stack: ExitStack,
) -> tuple[list[ShardManifest], list[Failure[ScanTask]]]:
    """Scan the shards; return the manifests of those done, and the tasks that failed."""
    if not tasks:
        return [], []
    warehouse = Warehouse(scan.path.parent.parent)
    total = sum(len(task.members) for task in tasks)
    pool = stack.enter_context(
        open_pool(
            config.ray_address, config.workers, config.gpus_per_worker, len(tasks), units=total
        )
    )
    _say_device(pool)
    probe = probe_write(warehouse.root)
    stack.callback(probe_remove, warehouse.root, probe)
    spec = WorkerSpec(
        warehouse=warehouse.root,
        scan=scan.name,
        probe=probe,
        model=_absolute(config.model),
        pretrained=_absolute(config.pretrained),
        batch_size=config.batch_size,
    )
    manifests: list[ShardManifest] = []
    cut = Cut[ScanTask, ShardManifest](
        split=partial(halves, fingerprint=record.fingerprint()),
        give_up=partial(reject_shard, scan, record, frames),
    )
    with console.progress(f"Scanning {scan.name}", total) as advance:

        def finished(manifest: ShardManifest) -> None:
            manifests.append(manifest)

        def advanced(running: int) -> None:
            advance(min(total, sum(m.rows + m.rejects for m in manifests) + running))

        failures = pool.run(
            Work(partial(ScanWorker, spec), tasks, finished=finished, advanced=advanced, cut=cut)
        )
        advance(sum(m.rows + m.rejects for m in manifests))
    return manifests, failures


def _say_device(pool: Pool) -> None:
    """Say what the model runs on, and loudly when a GPU is there but not used."""
    console.note(pool.described)
    if not pool.gpus and torch.cuda.is_available():
        console.warn("a GPU is present but not used: leave out --gpus-per-worker 0")
    elif not torch.cuda.is_available() and any(Path("/dev").glob("nvidia[0-9]*")):
        console.warn(
            "an NVIDIA device is present but torch does not see it: check the driver with "
            "nvidia-smi, and torch.cuda.is_available()"
        )


def _total(manifests: Sequence[ShardManifest]) -> Timing:
    names = Timing.model_fields
    return Timing(**{n: sum(getattr(m.timing, n) for m in manifests) for n in names})


def _judge(result: ScanResult, failures: Sequence[Failure[ScanTask]]) -> None:
    """Raise if shards failed for good, or not one picture could be used.

    All that is done is committed before.
    """
    if failures:
        pictures = sum(len(f.task.members) for f in failures)
        raise RunFailed(
            f"{how_many(len(failures), 'shard')} with {how_many(pictures, 'picture')} failed, "
            "first: "
            f"{failures[0].reason}; stored: {how_many(result.images, 'picture')}; "
            "run the same command again to try only what is missing"
        )
    if result.rejects and not result.images:
        reasons = "; ".join(f"{count:,} x {reason}" for reason, count in result.reasons[:3])
        n = result.rejects
        rejected = "the one picture was rejected" if n == 1 else f"all {n:,} pictures were rejected"
        raise RunFailed(
            f"{rejected} ({reasons}): nothing to publish; look "
            "at the source, --path-column and --root, then run again with --retry-rejects"
        )
