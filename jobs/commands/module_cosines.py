"""Measure how each layer's attention and MLP point: to the true text, a wrong one, the embedding.

Figure 8 of CLIP Surgery, on exact direct contributions, by one pass over a sample of the pictures.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from jobs import console
from jobs.steps.early import check_stored
from jobs.steps.pass_options import PassConfig
from schemas.text import how_many

PUBLISHES = True


class ModuleCosinesConfig(PassConfig):
    """Options of `headatlas module-cosines`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    classifier: str = Field(description="Classifier whose classes' texts are compared with.")
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
    output: Path | None = Field(default=None, description="Figure to draw: .svg, .png or .pdf.")
    sample: int = Field(default=2000, ge=1, description="Pictures, by label in proportion.")
    seed: int = Field(default=0, ge=0, description="Of the sample.")
    batch_size: int = Field(default=32, ge=1, description="Pictures per forward pass.")
    shard_size: int = Field(default=512, ge=1, description="Pictures per task.")


@dataclass(frozen=True)
class ModuleCosinesResult:
    """What was measured.

    Attributes:
        images: pictures counted.
        cosines: by module and layer, the mean cosine with true text, wrong text and embedding.
        rejects: pictures left out, with reasons.
        path: the table.
        drawn: the figure, if one was asked for.
        reused: whether the same was there already.
    """

    scan: str
    classifier: str
    images: int
    cosines: dict[tuple[str, int], tuple[float, float, float]]
    rejects: tuple[tuple[str, str], ...]
    path: Path
    drawn: Path | None
    reused: bool
    seconds: float


def run(config: ModuleCosinesConfig) -> ModuleCosinesResult:
    """Run the model on a sample of labelled pictures and compare what its modules add.

    Raises:
        UnknownName: no such scan or classifier.
        UsageError: fewer than two classes, no labelled picture, or no such kind of figure.
        RunFailed: some chunks failed for good; the others are kept.
    """
    check_stored(config.warehouse, config.scan, config.classifier)
    console.loading("the model")
    from jobs.steps.module_cosines import measure

    return measure(config)


def say(config: ModuleCosinesConfig, done: ModuleCosinesResult) -> None:
    """Print the cosines by layer."""
    console.left_out(done.rejects)
    rows = [(layer, module, *values) for (module, layer), values in sorted(done.cosines.items())]
    columns = ("layer", "module", "true text", "wrong text", "embedding")
    console.table(f"Mean cosines in {done.scan}", columns, rows)
    ended = "there already" if done.reused else f"in {done.seconds:.1f} s"
    drawn = f", drawn in {done.drawn}" if done.drawn else ""
    console.note(f"{how_many(done.images, 'picture')} of {done.scan}, {ended}{drawn}")
