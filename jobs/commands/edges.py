"""Measure from which earlier heads and MLPs every head reads, exactly, over a scan's pictures.

A pass of its own over the pictures, in chunks; a rerun of the same command goes on from those.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from jobs import console
from jobs.steps.early import check_stored
from jobs.steps.pass_options import PassConfig
from schemas.text import how_many

PUBLISHES = True


class EdgesConfig(PassConfig):
    """Options of `headatlas edges`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
    sample: int | None = Field(
        default=None, ge=2, description="Pictures, by label in proportion; default, all."
    )
    seed: int = Field(default=0, ge=0, description="Of the sample.")
    batch_size: int = Field(default=32, ge=1, description="Pictures per forward pass.")
    shard_size: int = Field(default=1024, ge=1, description="Pictures per task.")
    restart: bool = Field(default=False, description="Forget the result that is there.")


@dataclass(frozen=True)
class EdgesResult:
    """What was measured.

    Attributes:
        images: pictures counted.
        edges: rows of the table.
        rejects: pictures left out, with reasons.
        reused: whether the same was there already.
    """

    scan: str
    images: int
    edges: int
    rejects: tuple[tuple[str, str], ...]
    path: Path
    reused: bool
    seconds: float


def run(config: EdgesConfig) -> EdgesResult:
    """Measure every head's sources; go on where an earlier run stopped.

    Raises:
        UnknownName: no such scan.
        UnsupportedModel: the model pools by attention, or its heads are no sum of earlier parts.
        RunFailed: some chunks failed for good; the others are kept.
    """
    check_stored(config.warehouse, config.scan)
    console.loading("the model")
    from jobs.steps.edges import measure

    return measure(config)


def say(config: EdgesConfig, done: EdgesResult) -> None:
    """Say what was measured, and what was left out."""
    console.left_out(done.rejects)
    ended = "there already" if done.reused else f"in {done.seconds:.1f} s"
    console.note(
        f"edges of {done.scan}: {done.edges:,} over {how_many(done.images, 'picture')}, {ended}"
    )
