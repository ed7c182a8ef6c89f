"""Score maps by every method against masks, and say what each costs.

Pictures are scored in shards; a rerun scores only those that are missing.
"""

from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal

from pydantic import Field

from jobs import console
from jobs.steps.map_options import Eclip, Sam
from jobs.steps.pass_options import WorkersConfig
from pipeline.maps.names import ALL, check_methods, split_methods
from schemas.config import Names
from schemas.errors import SourceError, near_path
from schemas.text import how_many

ARGUMENTS = ("data",)
PUBLISHES = True
BEGINS = True


class SegmentConfig(WorkersConfig):
    """Options of `headatlas segment`."""

    data: Path = Field(
        description="Folder with images/ and masks/; folder of VOC, ImageNet-S, COCO or "
        "Waterbirds; or ImageNet-Segmentation's .mat."
    )
    model: str | None = Field(default=None, description="open_clip name, or a model config JSON.")
    pretrained: str | None = Field(
        default=None, description="open_clip tag, checkpoint file, or none."
    )
    warehouse: Path | None = Field(
        default=None, description="Warehouse whose scan's model is used; the scores go there too."
    )
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
    methods: str = Field(default="all", description="all, or names separated by commas.")
    eclip: Eclip = None
    sam: Sam = None
    protocol: Literal["aligned", "reference"] = Field(
        default="aligned", description="aligned, or reference (masks squashed, as published)."
    )
    asked: Literal["predicted", "true"] = Field(
        default="predicted", description="Class whose map is scored: predicted, or true."
    )
    labels: str | None = Field(default=None, description="Column of metadata.csv with the class.")
    classes: Names = Field(default=(), description="Class names, as cat,dog; default, the labels.")
    masks: Literal["foreground", "classes"] = Field(
        default="foreground",
        description="What masks/ holds: foreground, anything but 0; or classes, 1 for the first "
        "of --classes, 255 ignored.",
    )
    background: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Count the background as a class of semantic_miou: where no class's map "
        "reaches this share of the picture's range of values.",
    )
    template: str = Field(default="a photo of a {}.", description="Prompt, {} for the class.")
    limit: int | None = Field(default=None, ge=1, description="Only the first so many pictures.")
    batch_size: int = Field(default=16, ge=1, description="Pictures per forward pass.")
    shard_size: int = Field(default=128, ge=1, description="Pictures per task.")
    examples: int = Field(default=8, ge=0, description="Pictures on the page of examples.")
    output: Path = Field(default=Path("segmentation"), description="Folder of the results.")
    restart: bool = Field(default=False, description="Forget the results that are there.")


@dataclass(frozen=True)
class MethodScores:
    """One line of the table; scores are shares.

    Attributes:
        method: its name; METHOD+sam: masks that a segmenter makes of its points.
        device: what the maps were made on.
        pixel_accuracy: foreground is above the map's mean.
        miou: of background and foreground, pooled.
        map: mean over pictures of the average precision.
        best_miou: foreground's, mean over classes, at the best threshold.
        best_threshold: that threshold, of the min-maxed map.
        msc: mean foreground less mean background of the min-maxed map.
        semantic_miou: argmax over the classes' maps; None without class masks.
        milliseconds: per picture; the median over batches.
        peak_mb: most memory that a batch took beyond the model, in 10^6 bytes.
        maps: number scored.
    """

    method: str
    pixel_accuracy: float
    miou: float
    map: float
    best_miou: float
    best_threshold: float
    msc: float
    semantic_miou: float | None
    milliseconds: float
    peak_mb: float
    maps: int
    device: str


@dataclass(frozen=True)
class SegmentResult:
    """What was scored.

    Attributes:
        scores: best mIoU + mAP first.
        images: pictures scored.
        rejects: pictures left out, with reasons.
        multilabel_plain: mAP over classes of plain cosines; None without class masks.
        multilabel_surgery: the same by feature surgery.
        folder: scores.parquet, scores.csv, examples.png and the shards' rows.
        run: its name in a warehouse.
    """

    scores: tuple[MethodScores, ...]
    images: int
    rejects: tuple[tuple[str, str], ...]
    multilabel_plain: float | None
    multilabel_surgery: float | None
    folder: Path
    run: str
    seconds: float


def run(config: SegmentConfig) -> SegmentResult:
    """Score every method on a data set; go on where an earlier run stopped.

    Raises:
        UnknownName: no such method.
        StaleScan: the folder holds results of other options.
        RunFailed: some shards failed for good; the others are kept.
    """
    if not config.data.exists():
        raise SourceError(f"no such file or folder: {config.data}{near_path(config.data)}")
    check_methods(name for name in split_methods(config.methods) if name != ALL)
    console.loading("the maps' methods")
    from jobs.steps.segmentation import score

    return score(config)


def say(config: SegmentConfig, done: SegmentResult) -> None:
    """Print the scores, and what was left out."""
    columns = [field.name for field in fields(MethodScores)]
    title = f"{config.data.name}: {how_many(done.images, 'picture')}, protocol {config.protocol}"
    console.table(title, columns, [astuple(one) for one in done.scores])
    if done.multilabel_plain is not None:
        console.note(
            f"multi-label mAP: plain {done.multilabel_plain:.4f}, by feature surgery "
            f"{done.multilabel_surgery:.4f}"
        )
    console.left_out(done.rejects)
    console.note(f"wrote {done.folder}: scores.parquet, scores.csv, examples.png")
    if config.warehouse is not None:
        console.note(f"run {done.run} of segmentation_scores")
