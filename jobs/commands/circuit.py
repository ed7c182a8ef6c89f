"""Draw the strongest paths into a head, or into all heads of a role, as an SVG.

From the shares that `headatlas edges` has measured; beside what the drawn feeders carry stands what
random heads of the same layers do.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from jobs import console
from schemas.config import Config

ARGUMENTS = ("head",)


class CircuitConfig(Config):
    """Options of `headatlas circuit`."""

    head: str = Field(description="Head, as L22H11; or a role: all heads that carry it.")
    output: Path = Field(description="SVG file to write.")
    warehouse: Path = Field(description="Folder of the warehouse.")
    edges: int = Field(default=24, ge=1, description="Edges to draw, the strongest paths first.")
    basis: str | None = Field(default=None, description="TextSpan basis of the role; any.")
    control: int = Field(default=10, ge=0, description="Random sets, as many heads of each layer.")
    seed: int = Field(default=0, ge=0, description="Seed of the random sets.")
    scan: str | None = Field(default=None, description="Scan; default, the newest.")


@dataclass(frozen=True)
class PathRow:
    """An edge that is drawn.

    Attributes:
        source: L2H3, MLP 2, bias 2 or init.
        target: the head that reads it.
        share: of that head's variance.
        strength: of the strongest path to a target that begins with it.
    """

    source: str
    target: str
    share: float
    strength: float


@dataclass(frozen=True)
class CircuitResult:
    """The strongest paths into some heads.

    Attributes:
        targets: the heads.
        paths: the edges drawn, the strongest first.
        carried: share of the targets that they read of the drawn heads, directly; their mean.
        control: the random sets.
        control_mean: the same of these; None without.
        control_sd: their sample standard deviation.
    """

    scan: str
    targets: tuple[str, ...]
    paths: tuple[PathRow, ...]
    carried: float
    control: tuple[tuple[str, ...], ...]
    control_mean: float | None
    control_sd: float | None
    path: Path


def run(config: CircuitConfig) -> CircuitResult:
    """Find the paths and draw them.

    Raises:
        UnknownName: no such scan or role.
        UsageError: no such head, or edges have not been measured.
    """
    from jobs.steps.circuit import draw

    return draw(config)


def say(config: CircuitConfig, done: CircuitResult) -> None:
    """Print the strongest paths, and what the heads drawn carry beside random ones."""
    rows = [(p.source, p.target, p.share, f"{p.strength:.3f}") for p in done.paths]
    into = ", ".join(done.targets)
    console.table(f"Strongest paths into {into}", ("from", "to", "share", "strength"), rows)
    beside = ""
    if done.control_mean is not None:
        beside = (
            f"; random heads of the same layers {done.control_mean:.1%} (sd {done.control_sd:.1%})"
        )
    console.note(f"the heads drawn carry {done.carried:.1%} of what {into} read{beside}")
    console.note(f"{done.path}")
