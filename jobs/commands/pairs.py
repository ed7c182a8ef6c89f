"""Split the cosine of pictures with their own texts by image heads and text heads.

Texts are captions in a column, or labels. What the scan has stored is read, and the texts are
encoded: no picture is.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from jobs import console
from jobs.steps.early import check_stored
from schemas.config import Config
from schemas.text import how_many

ARGUMENTS = ("column",)
PUBLISHES = True


class PairsConfig(Config):
    """Options of `headatlas pairs`."""

    column: str = Field(description="label, or the metadata column that holds captions.")
    warehouse: Path = Field(description="Folder of the warehouse.")
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
    template: str = Field(
        default="{}", description="Prompt of a text, with one {}, as `a photo of a {}`."
    )
    name: str | None = Field(default=None, description="Name of the result; default, the column's.")
    batch_size: int = Field(default=128, ge=1, description="Texts per forward pass.")
    model: str | None = Field(default=None, description="Model, when its files have moved.")
    pretrained: str | None = Field(default=None, description="Weights, when they have moved.")


@dataclass(frozen=True)
class PairsResult:
    """What was measured.

    Attributes:
        pairs: pictures that have a text; `without` have none.
        cosine: mean over the pairs.
        heads: share of the cosine's variance between image heads and text heads.
        reused: whether the same was there already.
    """

    name: str
    scan: str
    pairs: int
    without: int
    cosine: float
    heads: float
    path: Path
    reused: bool
    seconds: float


def run(config: PairsConfig) -> PairsResult:
    """Measure the table, unless the same is there already.

    Raises:
        UnknownName: no such scan or column.
        UnsupportedModel: the texts are not encoded by open_clip's own text transformer.
        UsageError: no picture has a text, or the template has no `{}`.
    """
    check_stored(config.warehouse, config.scan, columns=[config.column])
    console.loading("the model")
    from jobs.steps.pairs import measure

    return measure(config)


def say(config: PairsConfig, done: PairsResult) -> None:
    """Say what was measured."""
    if done.without:
        console.note(f"left out {how_many(done.without, 'picture')} without {config.column}")
    ended = "there already" if done.reused else f"in {done.seconds:.1f} s"
    console.note(
        f"pairs {done.name} of {done.scan}: {how_many(done.pairs, 'picture')} with texts, mean "
        "cosine "
        f"{done.cosine:.3f}; {done.heads:.0%} of its variance lies between image heads and text "
        f"heads, {ended}"
    )
