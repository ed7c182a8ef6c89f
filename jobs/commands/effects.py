"""Measure what every head does to the embedding, directly and in total, by running the model.

Pictures are read again and measured in chunks; a rerun of the same command goes on from those.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from jobs import console
from jobs.steps.early import check_stored
from jobs.steps.pass_options import PassConfig
from schemas.config import Names
from schemas.text import how_many

PUBLISHES = True
FLAGS = {"dry_run": "Say what it would cost and store; write nothing."}


class EffectsConfig(PassConfig):
    """Options of `headatlas effects`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    classifier: str | None = Field(
        default=None,
        description="Classifier whose classes are the targets, each less the mean of the others.",
    )
    texts: Path | None = Field(
        default=None, description="File of texts, one a line, that are the targets instead."
    )
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
    sample: int | None = Field(
        default=None,
        ge=2,
        description="Pictures, by label in proportion; also for the heads' means. Default: 2,000 "
        "for exact and all for atp, with means over all pictures of the scan.",
    )
    method: Literal["exact", "atp"] = Field(
        default="exact",
        description="exact: run the model with each head replaced; atp: the same from gradients "
        "at both ends of the way to the means, a backward pass for each target from each layer on.",
    )
    check: int = Field(
        default=64,
        ge=0,
        description="Pictures among these on which the other method is measured too, for atp_r, "
        "and class_only.",
    )
    layers: str = Field(default="all", description="all, last:N, A-B or A; 0-based.")
    heads: Names = Field(default=(), description="These heads alone, as L22H12,L23H6.")
    first_order: bool = Field(
        default=False,
        description="Atp from the gradients at the picture alone: by one backward pass for each "
        "target, further from the total.",
    )
    gradient_dropout: bool = Field(
        default=False,
        description="Atp of first order as the mean over layers that pass no gradient (GradDrop).",
    )
    seed: int = Field(default=0, ge=0, description="Of the sample.")
    name: str | None = Field(
        default=None, description="Name of the result; default, the classifier's or the file's."
    )
    batch_size: int = Field(default=32, ge=1, description="Pictures per forward pass.")
    shard_size: int = Field(default=256, ge=1, description="Pictures per task.")
    restart: bool = Field(default=False, description="Forget the result that is there.")


@dataclass(frozen=True)
class EffectsResult:
    """What was measured, or with --dry-run would be.

    Attributes:
        name: of the result.
        images: pictures asked for; `checked` of them by both methods.
        means: pictures that the means are taken over.
        passes: forward passes of the whole, a backward pass counted as one.
        atp_r: correlation of atp with total over heads, pictures and targets, by layer.
        rejects: pictures left out, with reasons.
        path: the table; None with --dry-run.
        reused: whether the same was there already.
    """

    name: str
    scan: str
    heads: int
    targets: tuple[str, ...]
    images: int
    checked: int
    means: int
    passes: float
    rows: int
    atp_r: dict[int, float]
    rejects: tuple[tuple[str, str], ...]
    path: Path | None
    reused: bool
    seconds: float


def run(config: EffectsConfig, *, dry_run: bool = False) -> EffectsResult:
    """Measure effects; go on where an earlier run stopped; or with `dry_run` say what it costs.

    Raises:
        UsageError: no targets, no such head, or too many rows.
        UnknownName: no such scan or classifier.
        RunFailed: some chunks failed for good; the others are kept.
    """
    check_stored(config.warehouse, config.scan, config.classifier)
    console.loading("the model")
    from jobs.steps.effects import measure

    return measure(config, dry_run=dry_run)


def say(config: EffectsConfig, done: EffectsResult) -> None:
    """Say what was measured, and how well gradients stand for the whole."""
    what = (
        f"{how_many(done.heads, 'head')}, {how_many(len(done.targets), 'target')}, "
        f"{how_many(done.images, 'picture')}, "
        f"{done.checked:,} of them by both methods, means over {done.means:,}"
    )
    if done.path is None:
        console.note(
            f"{done.name} of {done.scan}: {what}; about {done.passes:,.0f} forward passes, "
            f"{how_many(done.rows, 'row')} of image_head_effects; nothing was written"
        )
        return
    console.left_out(done.rejects)
    if done.atp_r:
        rows = [(layer, f"{r:.3f}") for layer, r in sorted(done.atp_r.items())]
        console.table("Correlation of atp with total", ("layer", "r"), rows)
    ended = "there already" if done.reused else f"in {done.seconds:.1f} s"
    console.note(f"{done.name} of {done.scan}: {what}, {ended}")
