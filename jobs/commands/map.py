"""Draw where the image encoder looks for each text, over a picture."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from jobs import console
from jobs.steps.map_options import Eclip, Sam
from pipeline.maps.names import check_methods
from pipeline.masks.base import read_picture
from schemas.config import Config, Names
from schemas.text import how_many

if TYPE_CHECKING:
    from jobs.steps.map_picture import MapResult

ARGUMENTS = ("image", "texts")


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
    eclip: Eclip = None
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
    sam: Sam = None
    words: bool = Field(
        default=False,
        description="Also say which words matter: by Chefer's method, or method grad-eclip.",
    )
    size: int | None = Field(
        default=None, ge=1, description="Short side in pixels; default, the model's."
    )
    output: Path = Field(default=Path("map.png"), description="PNG file to write.")


def run(config: MapConfig) -> "MapResult":
    """Draw the maps of a picture for some texts.

    Raises:
        SourceError: the picture cannot be read.
        UsageError: options that do not go together; a model that is not named.
        UnknownName: no such method, scan or role.
    """
    # a wrong path or name is said at once
    read_picture(config.image)
    check_methods([config.method])
    console.loading("the maps' methods")
    from jobs.steps.map_picture import draw_maps

    return draw_maps(config)


def say(config: MapConfig, done: "MapResult") -> None:
    """Print each text's cosine, or the points, and where the maps are."""
    if config.points:
        sys.stdout.write(json.dumps(done.points_json(), indent=2) + "\n")
    else:
        rows = list(zip(config.texts, done.scores, strict=True))
        console.table("Cosine of the picture and each text", ("text", "cosine"), rows)
    if done.masks:
        covered = [(t, f"{m.mean():.1%}") for t, m in zip(done.titles, done.masks, strict=True)]
        console.table("Masks by SAM", ("text", "share of the picture"), covered)
    for text, words in zip(config.texts, done.words, strict=False):
        console.table(f"Words of “{text}”", ("word", "relevance"), words)
    console.note(f"drew {how_many(len(done.titles), 'map')} to {done.path}")
