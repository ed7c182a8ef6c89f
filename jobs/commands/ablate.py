"""Say what switching off some heads does to accuracy, by group, beside random heads."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import Field

from jobs import console
from jobs.steps.ablated import Ablated, group_rows, open_scene, total_row, worst_row
from jobs.steps.accuracies import SHOWN, show_ablated
from jobs.steps.sweep import SweepRow, plot, sweep
from jobs.steps.whatif import Head, ablate_sets, means_over, random_sets
from schemas.config import Config, Names
from schemas.errors import UsageError
from schemas.names import head_name, parse_head
from warehouse.files.layout import Warehouse
from warehouse.results.roles import heads_of_role
from warehouse.store.columns import condition, require_columns


class AblateConfig(Config):
    """Options of `headatlas ablate`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    classifier: str = Field(description="Zero-shot classifier, made by headatlas zeroshot.")
    heads: Names = Field(default=(), description="Heads to ablate, as L22H12,L23H6.")
    role: str | None = Field(default=None, description="Ablate all heads that carry this role.")
    basis: str | None = Field(default=None, description="TextSpan basis of the roles; any.")
    sweep: bool = Field(
        default=False,
        description="The paper's ablations: all MLPs, attention layers 0 to l, all but the last n "
        "layers of heads; needs a scan with --layers all --store mlp.",
    )
    group_by: Names = Field(default=(), description="Columns, as label,place.")
    where: str | None = Field(
        default=None, description="Count only pictures with COLUMN=VALUE; means stay over all."
    )
    means: str | None = Field(
        default=None,
        description="Replace heads by their means over pictures with COLUMN=VALUE; default, all.",
    )
    control: int = Field(default=10, ge=0, description="Random sets of as many heads.")
    seed: int = Field(default=0, description="Seed of the random sets.")
    png: Path | None = Field(default=None, description="Plot of --sweep.")
    scan: str | None = Field(default=None, description="Scan; default, the newest.")


@dataclass(frozen=True)
class AblateResult:
    """What mean-ablating a set of heads does.

    Attributes:
        groups: one row per group.
        total: over all pictures.
        worst: the lowest accuracy of any group, in each case; n of the group that is worst after.
        control: the random sets.
    """

    scan: str
    classifier: str
    heads: tuple[str, ...]
    groups: tuple[Ablated, ...]
    total: Ablated
    worst: Ablated
    control: tuple[tuple[str, ...], ...]
    seconds: float


@dataclass(frozen=True)
class SweepResult:
    """The paper's ablations."""

    scan: str
    classifier: str
    images: int
    rows: tuple[SweepRow, ...]
    png: Path | None
    seconds: float


def run(config: AblateConfig) -> AblateResult | SweepResult:
    """Ablate the heads asked for, and random ones, streaming over the stored contributions.

    With `sweep`, do the paper's ablations instead.

    Raises:
        UnknownName: no such scan, classifier, head, role or column.
        UsageError: not exactly one of heads and role is given.
    """
    if config.sweep:
        return run_sweep(config)
    if bool(config.heads) == bool(config.role):
        raise UsageError("give one of --heads L22H12,L23H6 and --role NAME, or --sweep alone")
    started = time.perf_counter()
    scene = open_scene(
        Warehouse(config.warehouse),
        config.scan,
        config.classifier,
        config.group_by,
        condition(config.where) if config.where else None,
    )
    if config.means is not None:
        keep = condition(config.means)
        require_columns(scene.scan, scene.shards, [keep[0]])
        scene = replace(scene, means=means_over(scene, keep))
    chosen: tuple[Head, ...]
    if config.role is not None:
        chosen = heads_of_role(scene.scan, config.role, config.basis)
    else:
        chosen = tuple(dict.fromkeys(parse_head(name) for name in config.heads))
    random = random_sets(scene.heads, chosen, config.control, config.seed)
    tally = ablate_sets(scene, [chosen, *random])
    return AblateResult(
        scene.scan.name,
        config.classifier,
        tuple(head_name(*h) for h in chosen),
        tuple(group_rows(tally)),
        total_row(tally),
        worst_row(tally),
        tuple(tuple(head_name(*h) for h in heads) for heads in random),
        time.perf_counter() - started,
    )


def say(config: AblateConfig, done: AblateResult | SweepResult) -> None:
    """Print accuracies before and after."""
    if isinstance(done, SweepResult):
        rows = [(row.kind, row.layers or None, row.accuracy) for row in done.rows]
        title = f"{done.classifier} over {done.images:,} pictures"
        console.table(title, ("kind", "layers", "accuracy"), rows)
        if done.png is not None:
            console.note(f"plot: {done.png}")
        return
    title = f"{len(done.heads)} heads mean-ablated: {', '.join(done.heads[:SHOWN])}"
    show_ablated(title, config.group_by, done.groups, done.total, done.worst)
    console.note(f"{done.total.n:,} pictures in {done.seconds:.1f} s")


def run_sweep(config: AblateConfig) -> SweepResult:
    """Do the paper's ablations, and plot them when a file is named.

    Raises:
        UnknownName: no such scan, classifier or column.
        UsageError: heads or a role are given too, or the scan stores too little.
    """
    if config.heads or config.role or config.group_by or config.means:
        raise UsageError("--sweep takes no --heads, --role, --group-by or --means; leave them out")
    started = time.perf_counter()
    scene = open_scene(
        Warehouse(config.warehouse),
        config.scan,
        config.classifier,
        (),
        condition(config.where) if config.where else None,
    )
    images, rows = sweep(scene)
    if config.png is not None:
        plot(rows, config.png, f"{scene.scan.name}, {config.classifier}")
    seconds = time.perf_counter() - started
    return SweepResult(scene.scan.name, config.classifier, images, rows, config.png, seconds)
