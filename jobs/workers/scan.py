"""The scan's worker: a plain callable from a shard's members to a stored shard. No Ray here."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool
from torch import Tensor

from jobs.ray.tasks import Rest
from pipeline.heads import moments as mo
from pipeline.heads.decompose import Decomposer, Decomposition
from pipeline.heads.stored_frames import Frames, load_frames
from pipeline.heads.watches import Sums, watches
from pipeline.pictures.decode import Decoding
from pipeline.pictures.loader import Clock, Loaded, batches
from pipeline.sources.reader import Reader
from pipeline.towers.forward import Step
from pipeline.towers.models import LoadedModel, load_model, pick_device
from schemas.config import Precision
from schemas.errors import StoreError
from schemas.files import images_schema, rejects_schema, vector_of
from schemas.manifest import ScanRecord, ShardManifest, Timing
from schemas.members import Member, Reject
from warehouse.files.layout import ScanDir, Warehouse, probe_read
from warehouse.store.plan import ScanTask
from warehouse.store.shards import ShardPayload, write_shard

DECODE_THREADS_PER_CPU = 1
# Pictures of its first batch on which a worker checks the sum of parts.
CHECKED = 16
# Pictures decoded ahead of the model, in batches.
AHEAD = 2


@dataclass(frozen=True)
class WorkerSpec:
    """Everything a worker needs to start: small, so that it travels to any machine.

    Attributes:
        warehouse: root folder, seen under this path by every worker.
        scan: name of the scan; its scan.json and frames are there already.
        probe: token of a file that this worker must find in the warehouse.
        model: as given on the command line.
        pretrained: as given on the command line.
    """

    warehouse: Path
    scan: str
    probe: str
    model: str
    pretrained: str
    batch_size: int


class ScanWorker:
    """Holds the model; turns one task after another into stored shards.

    On its first batch it checks that the parts sum to `encode_image`, and writes nothing if not.
    """

    def __init__(self, spec: WorkerSpec, cpus: int) -> None:
        """Load the model and the frames; work with `cpus` cores.

        Raises:
            StoreError: this worker does not see the warehouse, or sees another one.
        """
        warehouse = Warehouse(spec.warehouse)
        probe_read(warehouse.root, spec.probe)
        torch.set_num_threads(cpus)
        self.spec, self.cpus = spec, cpus
        self.scan = warehouse.scan(spec.scan)
        self.record: ScanRecord = self.scan.load_record()
        self.model = load_checked(spec.model, spec.pretrained, self.record)
        frames = load_frames(self.scan.frames, self.record.frames_sha256)
        wide = self.record.precision == "fp32" or self.record.residual is not None
        tower = replace(self.model.tower, wide=wide)
        self.decomposer = Decomposer(
            tower, frames, mlp="mlp" in self.record.stored, gated=self.record.gated
        )
        self.watches = watches(tower, self.record.stored, self.record.layers)
        self.frames_q = frames.narrow()
        self.checked = False
        self._done: dict[str, int] = {}

    @property
    def done(self) -> int:
        """Pictures of the shards that are at work or being stored."""
        return sum(list(self._done.values()))

    def __call__(self, task: ScanTask) -> Rest[ShardManifest]:
        """Scan the task's pictures; what is left is to store them as one shard."""
        self._done[task.shard] = 0
        try:
            payload, timing = self._scanned(task)
        except BaseException:
            del self._done[task.shard]
            raise
        return Rest(partial(self._store, task, payload, timing))

    def _scanned(self, task: ScanTask) -> tuple[ShardPayload, Timing]:
        started, clock = time.perf_counter(), Clock()
        rows = _Rows(self.record, len(task.members))
        ids = {member.key: i for member, i in zip(task.members, task.image_ids, strict=True)}
        model_seconds = 0.0
        with Reader() as reader:
            loaded = batches(
                task.members,
                reader,
                self.model.transform,
                batch_size=self.spec.batch_size,
                threads=self.cpus * DECODE_THREADS_PER_CPU,
                ahead=AHEAD * self.spec.batch_size,
                clock=clock,
                how=Decoding.of(self.record.model.preprocessing),
            )
            for batch in loaded:
                rows.rejects.extend(batch.rejects)
                if batch.members:
                    since = time.perf_counter()
                    found = self._run(batch.pixels)
                    kept = rows.add(batch, [ids[m.key] for m in batch.members], found)
                    self._watched(batch.pixels, found, kept, rows)
                    model_seconds += time.perf_counter() - since
                self._done[task.shard] += len(batch.members) + len(batch.rejects)
        payload = rows.payload(self.frames_q, self.decomposer)
        wall = time.perf_counter() - started
        return payload, Timing(read=clock.read, decode=clock.decode, model=model_seconds, wall=wall)

    def _store(self, task: ScanTask, payload: ShardPayload, timing: Timing) -> ShardManifest:
        try:
            return write_shard(
                self.scan,
                task.shard,
                payload,
                fingerprint=self.record.fingerprint(),
                members_sha256=task.members_sha256,
                base_snapshot=task.base_snapshot,
                device=device_name(self.model.device),
                timing=timing,
            )
        finally:
            del self._done[task.shard]

    def _run(self, pixels: Tensor) -> Decomposition:
        inputs = pixels.to(device=self.model.device, dtype=self.model.dtype)
        if not self.checked:
            self.decomposer.check(inputs[:CHECKED])
            self.checked = True
        return self.decomposer(inputs, self._show if self.watches else None)

    def _show(self, step: Step) -> None:
        for watch in self.watches.values():
            watch(step)

    def _watched(
        self, pixels: Tensor, found: Decomposition, kept: list[int], rows: "_Rows"
    ) -> None:
        """Add the sums over a batch's pictures, of those that are kept alone."""
        sums = {what: watch.take(found) for what, watch in self.watches.items()}
        if sums and len(kept) < len(pixels):
            # what is not finite of one picture is in the sums: once more without it
            sums = {}
            if kept:
                again = self._run(pixels[kept])
                sums = {what: watch.take(again) for what, watch in self.watches.items()}
        for what, more in sums.items():
            mine: Any = rows.sums.setdefault(what, type(more)())
            mine.merge(more)


def load_checked(
    model: str, pretrained: str, record: ScanRecord, device: torch.device | None = None
) -> LoadedModel:
    """Load a model and check that it is the one of the record.

    Raises:
        StoreError: its weights differ.
    """
    precision: Precision = record.precision
    loaded = load_model(model, pretrained, precision, device or pick_device())
    if loaded.record.weights_sha256 != record.model.weights_sha256:
        raise StoreError(
            f"{pretrained} has weights {loaded.record.weights_sha256[:8]} on this machine, scan "
            f"{record.scan_id} was made with {record.model.weights_sha256[:8]}; expected that same "
            "checkpoint wherever the scan's model is loaded"
        )
    return loaded


def device_name(device: torch.device) -> str:
    """Name what the model runs on: a GPU's name, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


@dataclass
class _Rows:
    """A shard's results while it is being scanned, in arrays made for all of its members."""

    record: ScanRecord
    capacity: int
    rejects: list[Reject] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        m, n = self.record.model, self.capacity
        self.members: list[Member] = []
        self.ids: list[int] = []
        self.widths: list[int] = []
        self.heights: list[int] = []
        self.sigma, self.norm = np.empty(n, np.float32), np.empty(n, np.float32)
        self.embedding = np.empty((n, m.d_joint), np.float32)
        self.vectors = {
            layer: np.empty((m.heads_of(layer), n, self.record.width_of(layer)), np.float16)
            for layer in self.record.layers
        }
        layers = range(m.n_layers) if "mlp" in self.record.stored else ()
        self.mlp = {layer: np.empty((n, m.d_joint), np.float16) for layer in layers}
        self.moments: dict[mo.Key, mo.Moments] = {}
        self.sums: dict[str, Sums] = {}

    def add(self, batch: Loaded, ids: Sequence[int], found: Decomposition) -> list[int]:
        """Take in a batch; pictures whose numbers are not finite are rejected.

        Returns:
            The places within the batch of those that are kept.
        """
        vectors = {n: v.transpose(0, 1).half() for n, v in found.vectors.items()}
        keep = torch.nonzero(_finite(found, vectors)).squeeze(-1)
        kept = keep.tolist()
        for i in sorted(set(range(len(batch.members))) - set(kept)):
            reason = f"the model's output is not finite in {self.record.precision}"
            self.rejects.append(Reject(batch.members[i], "model", reason))
        to = slice(self.count, self.count + len(kept))
        for layer, heads in vectors.items():
            self.vectors[layer][:, to] = heads[:, keep].cpu().numpy()
        mlp = found.mlp[keep].float().cpu().numpy()
        for layer, target in self.mlp.items():
            target[to] = mlp[:, layer]
        self.embedding[to] = found.embedding[keep].float().cpu().numpy()
        self.sigma[to] = found.sigma[keep].float().cpu().numpy()
        self.norm[to] = found.norm[keep].float().cpu().numpy()
        self.members += [batch.members[i] for i in kept]
        self.ids += [ids[i] for i in kept]
        self.widths += [batch.widths[i] for i in kept]
        self.heights += [batch.heights[i] for i in kept]
        if kept:
            self._add_moments(to, mlp, found, keep)
        self.count = to.stop
        return [int(i) for i in kept]

    def _add_moments(
        self, rows: slice, mlp: np.ndarray, found: Decomposition, keep: Tensor
    ) -> None:
        """Count the components that are not stored per picture."""
        embedding = self.embedding[rows]
        joint = dict(found.others)
        if found.init is not None:
            joint["init", -1] = found.init
        parts = {
            (name, layer, -1): mo.joint_moments(part[keep].float().cpu().numpy(), embedding)
            for (name, layer), part in joint.items()
        }
        for layer in range(mlp.shape[1]):
            if layer not in self.mlp:
                parts["mlp", layer, -1] = mo.joint_moments(mlp[:, layer], embedding)
        for key, part in parts.items():
            self.moments[key] = self.moments[key].merge(part) if key in self.moments else part

    def payload(
        self, frames_q: dict[int, np.ndarray], decomposer: Decomposer | None
    ) -> ShardPayload:
        """Return what is stored: only the rows that were filled; no row needs no decomposer."""
        n = self.count
        embedding = self.embedding[:n]
        vectors = {layer: heads[:, :n] for layer, heads in self.vectors.items()}
        mlp = {layer: rows[:n] for layer, rows in self.mlp.items()}
        moments = self.moments | mo.shard_moments(vectors, embedding, mlp, frames_q)
        norm = self.norm[:n].astype(np.float64)
        scale = 1 / (self.sigma[:n].astype(np.float64) * norm)
        if n and decomposer is not None:
            const = decomposer.const.double().cpu().numpy()
            moments["const", -1, -1] = mo.direction_moments(1 / norm, const, embedding)
            directions = decomposer.bias.double().cpu().numpy()
            for (kind, layer), bias in zip(decomposer.bias_keys, directions, strict=True):
                moments[kind, layer, -1] = mo.direction_moments(scale, bias, embedding)
        return ShardPayload(
            self._images(embedding),
            reject_rows(self.rejects),
            mo.to_table(moments),
            vectors,
            mlp,
            {what: sums.to_table() for what, sums in self.sums.items()},
        )

    def _images(self, embedding: np.ndarray) -> pa.Table:
        n, width = embedding.shape
        members = self.members
        columns = {
            "image_id": self.ids,
            "key": [m.key for m in members],
            "uri": [m.uri for m in members],
            "width": self.widths,
            "height": self.heights,
            "label": [m.label for m in members],
            "metadata": [m.metadata for m in members],
            "sigma": self.sigma[:n],
            "norm": self.norm[:n],
            "fingerprint": [m.fingerprint for m in members],
        }
        schema = images_schema(width)
        arrays = {name: pa.array(c, schema.field(name).type) for name, c in columns.items()}
        flat = pa.array(np.ascontiguousarray(embedding).ravel())
        arrays["embedding"] = pa.FixedSizeListArray.from_arrays(
            flat, type=vector_of(pa.float32(), width)
        )
        return pa.Table.from_arrays([arrays[name] for name in schema.names], schema=schema)


def reject_shard(
    scan: ScanDir, record: ScanRecord, frames: Frames, task: ScanTask, reason: str
) -> ShardManifest:
    """Store a task none of whose pictures could be had, without a model; return its manifest."""
    rows = _Rows(record, len(task.members))
    rows.rejects += [Reject(member, "worker", reason) for member in task.members]
    return write_shard(
        scan,
        task.shard,
        rows.payload(frames.narrow(), None),
        fingerprint=record.fingerprint(),
        members_sha256=task.members_sha256,
        base_snapshot=task.base_snapshot,
        device="none",
        timing=Timing(),
    )


def _finite(found: Decomposition, vectors: Mapping[int, Tensor]) -> Bool[Tensor, " image"]:
    """Whether all that is stored of each picture is finite, in the precision it is stored in."""
    finite = torch.isfinite(found.embedding).all(dim=-1)
    finite &= torch.isfinite(found.mlp.half()).flatten(1).all(dim=1)
    for heads in vectors.values():
        finite &= torch.isfinite(heads).all(dim=-1).all(dim=0)
    return finite


def reject_rows(rejects: Sequence[Reject]) -> pa.Table:
    """Return rejects as rows of rejects.parquet."""
    rows = [
        {
            "key": r.member.key,
            "uri": r.member.uri,
            "stage": r.stage,
            "reason": r.reason,
            "fingerprint": r.member.fingerprint,
        }
        for r in rejects
    ]
    return pa.Table.from_pylist(rows, schema=rejects_schema())
