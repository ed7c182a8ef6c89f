"""Decompose texts by the heads of the scan's own text tower.

Of a pool: what every head writes into every text's embedding, each head's moments over the texts,
and the texts that span it. Of a grid, a template with slots: which slot's words each head carries.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from jobs import console
from schemas.config import Config
from schemas.errors import UsageError
from schemas.text import how_many

ARGUMENTS = ("pool",)
PUBLISHES = True


class TextsConfig(Config):
    """Options of `headatlas texts`."""

    pool: str | None = Field(default=None, description="Description pool; or --grid.")
    warehouse: Path = Field(description="Folder of the warehouse.")
    scan: str | None = Field(
        default=None, description="Scan whose model it is; default, the newest."
    )
    layers: str = Field(
        default="all", description="Of the text tower: all, last:N, A-B or A; 0-based."
    )
    words: bool = Field(
        default=False, description="Also split every head by the word that it reads."
    )
    m: int = Field(default=20, ge=1, description="Texts that span a head, at most.")
    grid: str | None = Field(
        default=None, description="Template with slots, as `a photo of a {colour} {noun}`."
    )
    values: tuple[str, ...] = Field(
        default=(), description="Words of a slot, as colour=red,green; once for each slot."
    )
    name: str | None = Field(
        default=None, description="Name of a grid's result; default, after its template."
    )
    batch_size: int = Field(default=128, ge=1, description="Texts per forward pass.")
    model: str | None = Field(default=None, description="Model, when its files have moved.")
    pretrained: str | None = Field(default=None, description="Weights, when they have moved.")


@dataclass(frozen=True)
class TextsResult:
    """What was stored.

    Attributes:
        name: of the pool, or of the grid.
        texts: of it.
        cut: of these, texts longer than the model reads.
        heads: stored, of the text tower.
        paths: files by kind of result.
        reused: whether the same was there already.
    """

    name: str
    scan: str
    texts: int
    cut: int
    heads: int
    paths: dict[str, Path]
    reused: bool
    seconds: float


def run(config: TextsConfig) -> TextsResult:
    """Decompose a pool's texts or a grid's, unless the same is there already.

    Raises:
        UnknownName: no such pool or scan.
        UnsupportedModel: the texts are not encoded by open_clip's own text transformer.
        UsageError: the pool holds vectors, or too many numbers would be stored; the grid's slots
            and words do not fit; or not one of both is given.
    """
    if (config.pool is None) == (config.grid is None):
        got = "neither" if config.pool is None else "both"
        raise UsageError(f"texts: got {got} of a pool and --grid; give one")
    if config.grid is not None and config.words:
        raise UsageError("texts: --words splits a pool's texts; with --grid give none")
    if config.grid is None and (config.values or config.name):
        raise UsageError("texts: --values and --name are of --grid; give it a template with slots")
    console.loading("the model")
    from jobs.steps import text_grid, texts

    return texts.decompose(config) if config.grid is None else text_grid.measure(config)


def say(config: TextsConfig, done: TextsResult) -> None:
    """Say what was stored."""
    if done.cut:
        console.warn(f"cut {how_many(done.cut, 'text')}, longer than the model reads")
    ended = "there already" if done.reused else f"in {done.seconds:.1f} s"
    console.note(
        f"texts of {done.name} by {done.scan}: {how_many(done.heads, 'head')} of the text tower "
        "over "
        f"{how_many(done.texts, 'text')}, {ended}"
    )
