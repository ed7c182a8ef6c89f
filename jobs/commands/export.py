"""Write image embeddings with some heads mean-ablated, or tuned, as Parquet for use elsewhere.

No model runs: the ablated embedding is the stored one less Σ_S Q (vector − mean), the tuned one the
stored one and Σ Q V diag(λ − 1) Vᵀ (vector − mean). One shard is in memory at a time.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from pydantic import Field

from jobs import console
from jobs.steps.accuracies import SHOWN
from jobs.steps.embedding_atlas import write_head
from jobs.steps.opened import open_scan
from jobs.steps.tuning import read_tuning
from pipeline.heads.ablation import project, shift
from schemas.config import Config, Names
from schemas.embeddings import embeddings_schema
from schemas.errors import UsageError
from schemas.names import head_name, parse_head
from schemas.text import how_many
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.results.files import stream_result
from warehouse.results.roles import heads_of_role
from warehouse.store.means import Means
from warehouse.store.reading import matrix, read_head, read_images

ARGUMENTS = ("output",)


class ExportConfig(Config):
    """Options of `headatlas export`."""

    output: Path = Field(description="File to write, ending in .parquet.")
    warehouse: Path = Field(description="Folder of the warehouse.")
    heads: Names = Field(default=(), description="Heads to ablate, as L22H12,L23H6.")
    role: str | None = Field(default=None, description="Ablate all heads that carry this role.")
    basis: str | None = Field(default=None, description="TextSpan basis of the roles; any.")
    keep: bool = Field(
        default=False, description="Ablate all stored heads but these; the rest stays as it is."
    )
    unit: bool = Field(
        default=False,
        description="Make the changed embeddings unit-norm again; default, they stay as they are, "
        "so that dot products with class weights are logits.",
    )
    tuned: str | None = Field(
        default=None,
        description="Instead: each head's directions weighed as headatlas tune has learned for "
        "this classifier.",
    )
    embedding_atlas: str | None = Field(
        default=None,
        description="Instead: one head, as L22H11, as the tool embedding-atlas opens it: places, "
        "neighbours, thumbnails.",
    )
    scan: str | None = Field(default=None, description="Scan; default, the newest.")


Head = tuple[int, int]


@dataclass(frozen=True)
class ExportResult:
    """What was written.

    Attributes:
        ablated: names of the heads that were replaced by their means.
        tuned: the classifier that all heads were weighed anew for, if any.
        unit: whether the embeddings were made unit-norm again.
    """

    scan: str
    path: Path
    ablated: tuple[str, ...]
    unit: bool
    images: int
    seconds: float
    tuned: str | None = None


def run(config: ExportConfig) -> ExportResult:
    """Write key and ablated embedding of every picture, in order of the shards.

    The file is whole or absent. Its schema's metadata says, as JSON under `headatlas`, which scan,
    model and snapshot it is of, which heads are ablated, over how many pictures their means are,
    and whether the embeddings are unit-norm.

    Raises:
        UnknownName: no such scan, head or role.
        UsageError: not exactly one of what can be written, no such folder or suffix to write to,
            or no tuning for the classifier.
    """
    if sum(map(bool, (config.heads, config.role, config.tuned, config.embedding_atlas))) != 1:
        raise UsageError(
            "give one of --heads L22H12,L23H6, --role NAME, --tuned CLASSIFIER and "
            "--embedding-atlas HEAD"
        )
    _check_path(config.output)
    started = time.perf_counter()
    opened = open_scan(Warehouse(config.warehouse), config.scan)
    if config.embedding_atlas is not None:
        head = parse_head(config.embedding_atlas)
        count = write_head(opened, *head, config.output)
        seconds = time.perf_counter() - started
        return ExportResult(opened.name, config.output, (), False, count, seconds)
    scan, record, snapshot = opened.scan, opened.record, opened.snapshot
    means = opened.means()
    ablated = _ablated(config, scan, means) if config.tuned is None else []
    tuned = read_tuning(opened, config.tuned) if config.tuned is not None else []
    identity = np.eye(record.model.d_joint)
    projected = {head: project(opened.frame(*head)[None], identity) for head in ablated}
    provenance = {
        "scan": scan.name,
        "dataset": record.dataset,
        "model": record.model.model,
        "pretrained": record.model.pretrained,
        "weights_sha256": record.model.weights_sha256,
        "snapshot": snapshot.number,
        "ablated": [head_name(*head) for head in ablated],
        "role": config.role,
        "tuned": config.tuned,
        "means_over": means.n,
        "unit_norm": config.unit,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    schema = embeddings_schema(record.model.d_joint, unit=config.unit)
    done = 0
    with (
        stream_result(config.output, schema, provenance) as writer,
        console.progress("Exporting", snapshot.images) as advance,
    ):
        for shard in opened.shards:
            keys, embedding = _ablate_shard(scan, shard, means, projected)
            for one in tuned:
                _, vectors = read_head(scan, [shard], *one.head)
                embedding = embedding + one.change(vectors)
            if config.unit:
                embedding = _unit(embedding)
            flat = pa.array(np.ascontiguousarray(embedding, np.float32).reshape(-1))
            column = pa.FixedSizeListArray.from_arrays(flat, type=schema.field("embedding").type)
            writer.write_table(pa.Table.from_arrays([keys, column], schema=schema))
            done += len(embedding)
            advance(done)
    names = tuple(head_name(*head) for head in ablated)
    seconds = time.perf_counter() - started
    return ExportResult(scan.name, config.output, names, config.unit, done, seconds, config.tuned)


def say(config: ExportConfig, done: ExportResult) -> None:
    """Say what was written, and whether it is unit-norm."""
    if config.embedding_atlas is not None:
        console.note(
            f"{how_many(done.images, 'picture')} of {done.scan} by {config.embedding_atlas}; "
            "open them with "
            f"embedding-atlas {done.path} --x x --y y --neighbors neighbors --image image"
        )
        return
    length = "unit-norm" if done.unit else "not made unit-norm again"
    if done.tuned is not None:
        console.note(
            f"{done.images:,} embeddings of {done.scan} tuned for {done.tuned}, {length}: "
            f"{done.path} ({done.seconds:.1f} s)"
        )
        return
    names = ", ".join(done.ablated[:SHOWN]) + (", ..." if len(done.ablated) > SHOWN else "")
    console.note(
        f"{how_many(done.images, 'embedding')} of {done.scan} with "
        f"{how_many(len(done.ablated), 'head')} mean-ablated "
        f"({names}), {length}: {done.path} ({done.seconds:.1f} s)"
    )


def _check_path(path: Path) -> None:
    if path.suffix.lower() != ".parquet":
        raise UsageError(f"cannot write to {path.name!r}; expected a name that ends in .parquet")
    if not path.parent.is_dir():
        raise UsageError(f"cannot write to {path}: there is no folder {path.parent}")


def _ablated(config: ExportConfig, scan: ScanDir, means: Means) -> Sequence[Head]:
    """Return the heads to ablate, by layer and head: those named, or with --keep all others."""
    chosen = (
        heads_of_role(scan, config.role, config.basis)
        if config.role is not None
        else [parse_head(name) for name in config.heads]
    )
    for head in chosen:
        means.of(*head)
    stored = zip(means.layers, means.heads, strict=True)
    return [head for head in stored if (head in chosen) != config.keep]


def _ablate_shard(
    scan: ScanDir,
    shard: str,
    means: Means,
    projected: dict[Head, Float[np.ndarray, "one d_head d_joint"]],
) -> tuple[pa.ChunkedArray, Float[np.ndarray, "image d_joint"]]:
    rows = read_images(scan, [shard], ["key", "embedding"])
    embedding = matrix(rows["embedding"]).astype(np.float32)
    for head, frame in projected.items():
        _, vectors = read_head(scan, [shard], *head)
        embedding = embedding - shift(vectors[None], means.of(*head)[None], frame)
    return rows["key"], embedding


def _unit(rows: Float[np.ndarray, "image d_joint"]) -> Float[np.ndarray, "image d_joint"]:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    found: np.ndarray = np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
    return found
