"""Measure where every head looks for every text, over a data set, as a table.

Pictures are measured in chunks; a rerun of the same command measures only those that are missing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from jobs import console
from jobs.steps.pass_options import PassConfig
from schemas.config import Names
from schemas.text import how_many

ARGUMENTS = ("data",)
PUBLISHES = True


class MapStatisticsConfig(PassConfig):
    """Options of `headatlas map-statistics`."""

    data: str = Field(
        description="Pictures, as for scan; with --masks a data set that has them, as for segment."
    )
    warehouse: Path = Field(description="Warehouse of the scan; the statistics go there.")
    scan: str | None = Field(
        default=None, description="Scan whose model is used; default, the newest."
    )
    text: tuple[str, ...] = Field(
        default=(), description="Text to look for; may be given again. Or --pool."
    )
    pool: str | None = Field(default=None, description="Look for every text of this pool.")
    against: tuple[str, ...] = Field(
        default=(),
        description="Text to compare with; may be given again. Default, all the texts, or for a "
        "single one everyday texts.",
    )
    masks: Literal["foreground", "classes"] | None = Field(
        default=None,
        description="Measure what lies on the masks: on anything but background, or on each "
        "class that they hold.",
    )
    labels: str | None = Field(
        default=None,
        description="`folder`, or the column with a picture's label: also pool by label.",
    )
    path_column: str | None = Field(default=None, description="Column that holds the path.")
    root: str | None = Field(default=None, description="Folder that listed paths start from.")
    classes: Names = Field(default=(), description="Names of the masks' classes, as cat,dog.")
    layers: str = Field(default="all", description="all, last:N, A-B or A; 0-based.")
    heads: Names = Field(default=(), description="These heads alone, as L22H12,L23H6.")
    limit: int | None = Field(default=None, ge=1, description="Only the first so many pictures.")
    name: str | None = Field(
        default=None, description="Name of the result; default, the data's and a digest."
    )
    batch_size: int = Field(default=16, ge=1, description="Pictures per forward pass.")
    shard_size: int = Field(default=1024, ge=1, description="Pictures per task.")
    restart: bool = Field(default=False, description="Forget the result that is there.")


@dataclass(frozen=True)
class MapStatisticsResult:
    """What was measured.

    Attributes:
        name: of the result.
        scan: whose model it is.
        path: the file of the table.
        images: pictures counted.
        rejects: pictures left out, with reasons.
        heads: heads measured.
        texts: looked for.
        labels: that pictures are also pooled by.
        reused: whether the same table was there already.
    """

    name: str
    scan: str
    path: Path
    images: int
    rejects: tuple[tuple[str, str], ...]
    heads: int
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    reused: bool
    seconds: float


def run(config: MapStatisticsConfig) -> MapStatisticsResult:
    """Measure every head's contribution maps; go on where an earlier run stopped.

    Raises:
        UsageError: no texts, no such head, no masks where they are asked for, or too many rows.
        SourceError: the pictures cannot be listed, or none can be used.
        RunFailed: some chunks failed for good; the others are kept.
    """
    console.loading("the maps' methods")
    from jobs.steps.map_statistics import measure

    return measure(config)


def say(config: MapStatisticsConfig, done: MapStatisticsResult) -> None:
    """Say what was measured, and what was left out."""
    console.left_out(done.rejects)
    by = f", by {how_many(len(done.labels), 'label')} too" if done.labels else ""
    console.note(
        f"{done.name} of {done.scan}: {how_many(done.heads, 'head')}, "
        f"{how_many(len(done.texts), 'text')}, "
        f"{how_many(done.images, 'picture')}{by}, "
        + ("there already" if done.reused else f"in {done.seconds:.1f} s")
    )
