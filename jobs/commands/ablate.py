"""Say what switching off some heads does to accuracy, by group, beside random heads.

From what the scan stores, or with --total by running the model without them, or without MLPs.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from jobs import console
from jobs.steps.ablated import Ablated, group_rows, open_scene, total_row, worst_row
from jobs.steps.accuracies import SHOWN, show_ablated
from jobs.steps.early import check_stored
from jobs.steps.pass_options import PassConfig
from jobs.steps.sweep import SweepRow, plot, sweep
from jobs.steps.whatif import Head, Key, ablate_sets, means_over, random_sets
from schemas.config import Names
from schemas.errors import UsageError
from schemas.names import head_name, parse_head
from schemas.text import how_many
from warehouse.files.layout import Warehouse
from warehouse.results.roles import heads_of_role
from warehouse.store.columns import condition, require_columns

PUBLISHES = True


def stores(config: "AblateConfig") -> bool:
    """Only a run of the model is stored."""
    return config.total


class AblateConfig(PassConfig):
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
    control: int = Field(
        default=10,
        ge=0,
        description="Random sets of as many heads; with --total, as many of each layer.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of the random sets.")
    png: Path | None = Field(default=None, description="Plot of --sweep.")
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
    total: bool = Field(
        default=False, description="Run the model without them, beside what is predicted."
    )
    replace: Literal["mean", "zero"] = Field(
        default="mean", description="With --total: by their mean at each token, or by zero."
    )
    at: Literal["all", "class"] = Field(
        default="all",
        description="With --total: at every token, or at those alone that the read-out reads.",
    )
    attention: str | None = Field(
        default=None,
        description="With --total: all heads of these layers, as all, last:4, 0-3 or pool.",
    )
    mlps: str | None = Field(default=None, description="With --total: MLPs of these layers, too.")
    cls: str | None = Field(
        default=None,
        description="With --total: in these layers also what the class token reads of itself (the "
        "paper's CLS ablation).",
    )
    sample: int | None = Field(
        default=None,
        ge=1,
        description="With --total: pictures, by class and group in proportion; default, all.",
    )
    name: str | None = Field(
        default=None, description="With --total: name of the result; default, of what is replaced."
    )
    batch_size: int = Field(default=32, ge=1, description="Pictures per forward pass.")
    shard_size: int = Field(default=256, ge=1, description="Pictures per task.")
    restart: bool = Field(default=False, description="Forget the result that is there.")


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


@dataclass(frozen=True)
class TotalRow:
    """Accuracy of some pictures without some components, as shares.

    Attributes:
        replaced: heads, mlps, cls or joint.
        of: `group`, `all`, or `worst`: the lowest of any group, in each case by itself.
        group: values of the columns asked for.
        before: with nothing replaced.
        direct: as predicted by the components' own contributions.
        total: by the model's run.
        control_mean: total of random sets of as many heads of each layer; None without.
        control_sd: their sample standard deviation.
    """

    replaced: str
    of: str
    group: Key
    n: int
    before: float
    direct: float
    total: float
    control_mean: float | None
    control_sd: float | None


@dataclass(frozen=True)
class TotalResult:
    """What replacing components does when the model runs on.

    Attributes:
        name: of the result.
        replaced: names of the components of each case.
        control: the random sets.
        images: pictures counted.
        rejects: pictures left out, with reasons.
        path: the table's file.
        reused: whether the same was there already.
    """

    name: str
    scan: str
    classifier: str
    replace: str
    at: str
    replaced: dict[str, tuple[str, ...]]
    rows: tuple[TotalRow, ...]
    control: tuple[tuple[str, ...], ...]
    images: int
    rejects: tuple[tuple[str, str], ...]
    path: Path
    reused: bool
    seconds: float


# Options that say nothing without --total, and those that say nothing with it.
_TOTAL = ("replace", "at", "attention", "mlps", "cls", "sample", "name", "restart")
_STORED = ("sweep", "png")


def _require_mode(config: AblateConfig) -> None:
    """Check that the options given are of what is asked for.

    Raises:
        UsageError: they are not.
    """
    for name in _STORED if config.total else _TOTAL:
        field: Any = AblateConfig.model_fields[name]
        if getattr(config, name) != field.default:
            given = "with" if config.total else "without"
            raise UsageError(f"--{name} says nothing {given} --total; leave out one of them")


def run(config: AblateConfig) -> AblateResult | SweepResult | TotalResult:
    """Ablate the heads asked for, and random ones, streaming over the stored contributions.

    With `sweep`, do the paper's ablations instead; with `total`, run the model, in chunks of
    pictures that a rerun goes on from, and store what is predicted.

    Raises:
        UnknownName: no such scan, classifier, head, role or column.
        UsageError: not exactly one of heads and role is given; or with `total`, nothing is.
        UnsupportedModel: it has not what `total` is to replace.
        RunFailed: some chunks failed for good; the others are kept.
    """
    _require_mode(config)
    if config.total:
        check_stored(config.warehouse, config.scan, config.classifier, config.group_by)
        console.loading("the model")
        from jobs.steps.total_ablation import ablate_total

        return ablate_total(config)
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


def say(config: AblateConfig, done: AblateResult | SweepResult | TotalResult) -> None:
    """Print accuracies before and after."""
    if isinstance(done, TotalResult):
        say_total(config.group_by, done)
        return
    if isinstance(done, SweepResult):
        rows = [(row.kind, row.layers or None, row.accuracy) for row in done.rows]
        title = f"{done.classifier} over {how_many(done.images, 'picture')}"
        console.table(title, ("kind", "layers", "accuracy"), rows)
        if done.png is not None:
            console.note(f"plot: {done.png}")
        return
    title = f"{how_many(len(done.heads), 'head')} mean-ablated: {', '.join(done.heads[:SHOWN])}"
    show_ablated(title, config.group_by, done.groups, done.total, done.worst)
    console.note(f"{how_many(done.total.n, 'picture')} in {done.seconds:.1f} s")


def say_total(group_by: tuple[str, ...], done: TotalResult) -> None:
    """Print accuracies of each case: before, as predicted, and by the model's run."""
    console.left_out(done.rejects)
    columns = group_by or ("",)
    heads = ("pictures", "before", "direct", "total", "random heads, total", "their sd")
    where = "every token" if done.at == "all" else "the tokens read"
    for what, names in done.replaced.items():
        rows = [
            (
                *(row.group or (row.of if group_by else "", *[""] * (len(columns) - 1))),
                *(row.n, row.before, row.direct, row.total, row.control_mean, row.control_sd),
            )
            for row in done.rows
            if row.replaced == what
        ]
        if rows:
            shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
            title = f"{what}, {done.replace} at {where}: {shown}"
            console.table(title, (*columns, *heads), rows)
    ended = "there already" if done.reused else f"in {done.seconds:.1f} s"
    console.note(f"{done.name} of {done.scan}: {how_many(done.images, 'picture')}, {ended}")


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
