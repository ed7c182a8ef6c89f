"""Write every head's contribution to every picture's embedding, and publish.

Lists the source, compares it with what is stored, scans what is new or changed, and commits a new
snapshot. Killed at any moment, the same command goes on where it was.
"""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from jobs import console
from jobs.steps.early import check_model, weights_given
from pipeline.sources import Listing, list_members
from schemas.config import Config, Precision, reject_limit, split_names
from schemas.errors import TooManyRejects
from schemas.manifest import PoolMlpSplit, Timing
from schemas.text import how_many
from warehouse.files.layout import Warehouse

ARGUMENTS = ("source",)
FLAGS = {"dry_run": "Say what would be done and stored; write nothing."}
PUBLISHES = True
BEGINS = True
# Reasons of rejects that are shown.
REASONS = 5
Components = Annotated[tuple[Literal["mlp", "edges", "means"], ...], BeforeValidator(split_names)]


class ScanConfig(Config):
    """Options of `headatlas scan`."""

    source: str = Field(description="Folder, CSV/JSONL/Parquet listing, tars, or image Parquet.")
    model: str = Field(description="open_clip model name, or path of a model config JSON.")
    pretrained: str = Field(
        description="open_clip tag, checkpoint file, or none for random weights, which say nothing."
    )
    warehouse: Path = Field(description="Folder of the warehouse; every worker must see it.")
    dataset: str | None = Field(default=None, description="Name of the data set.")
    scan: str | None = Field(default=None, description="Name of the scan.")
    layers: str | None = Field(
        default=None,
        description="all, last:N, A-B, A or pool; 0-based. Default: every layer that writes into "
        "the embedding: all, or the pool's heads (layer n_layers) behind an attention pool.",
    )
    labels: str | None = Field(default=None, description="`folder`, or the label column.")
    path_column: str | None = Field(default=None, description="Column that holds the path.")
    root: str | None = Field(default=None, description="Folder that listed paths start from.")
    shard_size: int = Field(default=4096, ge=1, description="Pictures per shard.")
    batch_size: int = Field(default=32, ge=1, description="Pictures per forward pass.")
    precision: Precision = Field(default="fp32", description="Arithmetic of the forward pass.")
    decode: Literal["exact", "scaled"] | None = Field(
        default=None,
        description="exact: every pixel of a JPEG; scaled: large ones at 1/2, 1/4 or 1/8 of their "
        "size, still above twice the model's input. Default, the scan's own; scaled for a new one.",
    )
    store: Components = Field(
        default=(),
        description="Also store: mlp, of every picture; sums over pictures, for which the commands "
        "then need no pass: edges, and means (of heads at each token, for effects).",
    )
    pool_mlp: PoolMlpSplit = Field(
        default="component",
        description="The MLP of an attention pool (SigLIP, PE): a component of its own; or gated: "
        "each head goes on through it, its gates as they are, and is stored in the joint space.",
    )
    ray_address: str | None = Field(default=None, description="Ray cluster; default: local.")
    workers: int | None = Field(
        default=None, ge=0, description="Workers, at most; 0: in this process, without Ray."
    )
    gpus_per_worker: float | None = Field(default=None, ge=0, description="Share of a GPU each.")
    max_rejects: str | None = Field(default=None, description="N, or P%: exit 3 above it.")
    restart: bool = Field(default=False, description="Forget what is stored; scan from nothing.")
    retry_rejects: bool = Field(default=False, description="Try rejected pictures again.")

    @field_validator("max_rejects")
    @classmethod
    def _limit(cls, value: str | None) -> str | None:
        if value is not None:
            reject_limit(value, 1)
        return value


@dataclass(frozen=True)
class ScanResult:
    """What a scan did.

    Attributes:
        scan: its name.
        snapshot: number committed; None for a dry run.
        images: pictures stored, over the whole scan.
        rejects: pictures rejected, over the whole scan.
        scanned: pictures that the model saw in this run.
        reused: pictures whose contributions were there already.
        vanished: pictures that are no longer in the source.
        bytes: estimated size of what this run had to add.
        timing: seconds of all workers together, by stage.
        seconds: wall time of the run.
        reasons: why pictures were rejected, over the whole scan, with counts; commonest first.
    """

    scan: str
    snapshot: int | None
    images: int
    rejects: int
    scanned: int
    reused: int
    vanished: int
    bytes: int
    timing: Timing = field(default_factory=Timing)
    seconds: float = 0.0
    reasons: tuple[tuple[str, int], ...] = ()


def run(config: ScanConfig, *, dry_run: bool = False) -> ScanResult:
    """Scan a source, or with `dry_run` say what a scan would do.

    Raises:
        UsageError: a wrong option, or a model that cannot be decomposed.
        SourceError: the source cannot be listed.
        StaleScan: a scan of this name has another configuration.
        Locked: another run is writing it.
        RunFailed: some shards failed for good; the others are committed.
        TooManyRejects: done, but more rejects than --max-rejects allows.
    """
    started = time.perf_counter()
    return run_listed(config, listed(config), started, dry_run=dry_run)


def listed(config: ScanConfig) -> Listing:
    """List the pictures of a source, once the model's name and layers are known to be right.

    Raises:
        UsageError: a wrong option.
        SourceError: the source cannot be listed.
    """
    check_model(config.model, config.layers, config.pretrained)
    weights_given(config.model, config.pretrained)
    console.note(f"listing {config.source}")
    listing = list_members(
        config.source, labels=config.labels, path_column=config.path_column, root=config.root
    )
    console.note(f"{how_many(len(listing.members), 'picture')} in {config.source} ({listing.kind})")
    for line in listing.said:
        console.note(line)
    return listing


def run_listed(
    config: ScanConfig, listing: Listing, started: float, *, dry_run: bool = False
) -> ScanResult:
    """Scan what has been listed; `started` is when that began. Raises what `run` does."""
    console.loading(config.model)
    from jobs.steps.scanning import scan_listed

    result = scan_listed(config, listing, dry_run=dry_run)
    result = replace(result, seconds=time.perf_counter() - started)
    check_rejects(config, result)
    return result


def say(config: ScanConfig, done: ScanResult) -> None:
    """Print what was stored, or what a scan would do."""
    rows: list[tuple[str, object]]
    if done.snapshot is None:
        rows = [
            ("scan", done.scan),
            ("to scan", done.scanned),
            ("there already", done.reused),
            ("bytes to store", console.size(done.bytes)),
        ]
        console.table("A scan would do this; nothing was written", ("", ""), rows)
        return
    t = done.timing
    busy = f"read {t.read:.1f} · decode {t.decode:.1f} · model {t.model:.1f} · write {t.write:.1f}"
    rows = [
        ("scan", done.scan),
        ("snapshot", done.snapshot),
        ("pictures stored", done.images),
        ("rejected", done.rejects),
        *((f"  {reason}", count) for reason, count in done.reasons[:REASONS]),
        ("scanned now", done.scanned),
        ("reused", done.reused),
        ("vanished", done.vanished),
        ("seconds", done.seconds),
        ("worker seconds", busy),
        ("written", console.size(done.bytes)),
    ]
    console.table(f"Scan {done.scan}", ("", ""), rows)


def check_rejects(config: ScanConfig, result: ScanResult) -> None:
    """Compare the scan's rejects with --max-rejects.

    Raises:
        TooManyRejects: there are more than allowed.
    """
    pictures = result.images + result.rejects
    if config.max_rejects is None or result.rejects <= reject_limit(config.max_rejects, pictures):
        return
    raise TooManyRejects(
        f"{result.rejects:,} of {pictures:,} pictures were rejected, allowed are "
        f"{config.max_rejects}; everything else is stored; see "
        f"{Warehouse(config.warehouse).root / 'scans' / result.scan / 'rejects.parquet'}",
        done=result,
    )
