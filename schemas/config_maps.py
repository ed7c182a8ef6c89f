"""Configuration of the commands about maps: map, map-statistics and segment."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from schemas.config import Config
from schemas.config_classes import Names

# Absolute, since a worker's folder is another.
AbsolutePath = Annotated[Path, AfterValidator(Path.absolute)]
ECLIP = (
    "Checkpoint of ECLIP's two projections, for method eclip: safetensors or torch file with "
    "image.weight and text.weight, and biases if any."
)


class MapConfig(Config):
    """Options of `headatlas map`."""

    image: Path = Field(description="Picture file.")
    texts: tuple[str, ...] = Field(description="Texts to look for, one panel each.")
    model: str | None = Field(default=None, description="open_clip name, or a model config JSON.")
    pretrained: str | None = Field(
        default=None, description="open_clip tag, checkpoint file, or none."
    )
    warehouse: Path | None = Field(
        default=None, description="Folder of the warehouse whose scan's model is used."
    )
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
    method: str = Field(default="contribution", description="Method of the map.")
    eclip: AbsolutePath | None = Field(default=None, description=ECLIP)
    layers: str = Field(default="all", description="Contribution of these layers alone.")
    heads: Names = Field(
        default=(), description="Contribution of these heads alone, as L22H12,L23H6."
    )
    role: str | None = Field(
        default=None, description="Contribution of the heads that carry this role alone."
    )
    against: tuple[str, ...] = Field(
        default=(), description="Texts to compare with; default, the texts, or everyday ones."
    )
    contrast: bool = Field(default=False, description="The difference of exactly two texts.")
    per_head: bool = Field(
        default=False, description="A sheet of the heads that say most about one text."
    )
    points: bool = Field(
        default=False, description="Print and draw point prompts for a segmenter, as JSON."
    )
    words: bool = Field(
        default=False,
        description="Also say which words matter: by Chefer's method, or method grad-eclip.",
    )
    size: int | None = Field(
        default=None, ge=1, description="Short side in pixels; default, the model's."
    )
    output: Path = Field(default=Path("map.png"), description="PNG file to write.")


class MapStatisticsConfig(Config):
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
    workers: int | None = Field(
        default=None, ge=0, description="Workers, at most; 0: in this process, without Ray."
    )
    gpus_per_worker: float | None = Field(default=None, ge=0, description="Share of a GPU each.")
    ray_address: str | None = Field(default=None, description="Ray cluster; default: local.")
    model: str | None = Field(default=None, description="Model, when its files have moved.")
    pretrained: str | None = Field(default=None, description="Weights, when they have moved.")
    restart: bool = Field(default=False, description="Forget the result that is there.")


class SegmentConfig(Config):
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
    eclip: AbsolutePath | None = Field(default=None, description=ECLIP)
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
    workers: int | None = Field(
        default=None, ge=0, description="Workers, at most; 0: in this process, without Ray."
    )
    gpus_per_worker: float | None = Field(default=None, ge=0, description="Share of a GPU each.")
    ray_address: str | None = Field(default=None, description="Ray cluster; default: local.")
    examples: int = Field(default=8, ge=0, description="Pictures on the page of examples.")
    output: Path = Field(default=Path("segmentation"), description="Folder of the results.")
    restart: bool = Field(default=False, description="Forget the results that are there.")
