"""Configuration of the commands about maps: `headatlas map` and `headatlas segment`."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from schemas.config import Config
from schemas.config_classes import Names


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


class SegmentConfig(Config):
    """Options of `headatlas segment`."""

    data: Path = Field(
        description="Folder with images/ and masks/, VOC folder, or ImageNet-Segmentation .mat."
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
    protocol: Literal["aligned", "reference"] = Field(
        default="aligned", description="aligned, or reference (masks squashed, as published)."
    )
    asked: Literal["predicted", "true"] = Field(
        default="predicted", description="Class whose map is scored: predicted, or true."
    )
    labels: str | None = Field(default=None, description="Column of metadata.csv with the class.")
    classes: Names = Field(default=(), description="Class names, as cat,dog; default, the labels.")
    template: str = Field(default="a photo of a {}.", description="Prompt, {} for the class.")
    limit: int | None = Field(default=None, ge=1, description="Only the first so many pictures.")
    batch_size: int = Field(default=16, ge=1, description="Pictures per forward pass.")
    shard_size: int = Field(default=128, ge=1, description="Pictures per task.")
    workers: int | None = Field(default=None, ge=1, description="Worker actors.")
    gpus_per_worker: float | None = Field(default=None, ge=0, description="Share of a GPU each.")
    ray_address: str | None = Field(default=None, description="Ray cluster; default: local.")
    examples: int = Field(default=8, ge=0, description="Pictures on the page of examples.")
    output: Path = Field(default=Path("segmentation"), description="Folder of the results.")
    restart: bool = Field(default=False, description="Forget the results that are there.")
