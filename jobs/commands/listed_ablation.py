"""The commands zeroshot, ablate, spurious and export, and what they say when they are done."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from jobs import console
from jobs.command import NO_PUBLISH, Command, publish_and_say
from schemas.config import PublishConfig
from schemas.config_classes import AblateConfig, ExportConfig, SpuriousConfig, ZeroShotConfig

if TYPE_CHECKING:
    from jobs.commands.ablate import Ablated
    from jobs.steps.whatif import GroupRow

# Rows of a long table that are shown.
SHOWN = 20


def _zeroshot(config: ZeroShotConfig, *, no_publish: bool) -> None:
    """Classify every picture by class names, and store each head's part of the logits."""
    from jobs.commands import zeroshot

    done = zeroshot.run(config)
    _groups("Accuracy by class", ("class",), done.by_class)
    if config.group_by:
        _groups("Accuracy by group", config.group_by, done.by_group)
    right = "no picture has one of these labels"
    if done.accuracy is not None:
        counted = sum(row.n for row in done.by_class)
        right = f"{done.accuracy:.1%} right of {counted:,} labelled pictures"
    console.note(
        f"classifier {done.classifier} of {done.scan}: {done.classes:,} classes, {right}; "
        f"{done.images:,} pictures in {done.seconds:.1f} s"
    )
    if not no_publish:
        publish_and_say(PublishConfig(warehouse=config.warehouse))


def _ablate(config: AblateConfig) -> None:
    """Say what switching off some heads does to accuracy, by group, beside random heads."""
    from jobs.commands import ablate

    if config.sweep:
        swept = ablate.run_sweep(config)
        rows = [(row.kind, row.layers or None, row.accuracy) for row in swept.rows]
        console.table(
            f"{swept.classifier} over {swept.images:,} pictures",
            ("kind", "layers", "accuracy"),
            rows,
        )
        if swept.png is not None:
            console.note(f"plot: {swept.png}")
        return
    done = ablate.run(config)
    title = f"{len(done.heads)} heads mean-ablated: {', '.join(done.heads[:SHOWN])}"
    _ablated(title, config.group_by, done.groups, done.total, done.worst)
    console.note(f"{done.total.n:,} pictures in {done.seconds:.1f} s")


def _spurious(config: SpuriousConfig, *, no_publish: bool) -> None:
    """Find the heads that carry a cue, choose a set to switch off, and judge it on a test split."""
    from jobs.commands import spurious

    done = spurious.run(config)
    ranked = [
        (h.name, h.score, h.about_attribute, h.about_target, "yes" if h.chosen else "")
        for h in done.heads[:SHOWN]
    ]
    console.table(
        f"Heads by what they say of {done.attribute}",
        ("head", "score", "about attribute", "about target", "chosen"),
        ranked,
    )
    for outcome in done.outcomes:
        title = f"Chosen by {outcome.by}: {', '.join(outcome.heads) or 'no head'}"
        columns = (config.target or "target", config.attribute)
        _ablated(title, columns, outcome.groups, outcome.total, outcome.worst)
        if outcome.gap_closed is not None:
            console.note(
                f"{outcome.by}: the worst group gains {outcome.gap_closed:.0%} of its gap to the "
                f"mean; the mean changes by {outcome.total.after - outcome.total.before:+.1%}"
            )
    if not no_publish:
        publish_and_say(PublishConfig(warehouse=config.warehouse))


def _export(config: ExportConfig) -> None:
    """Write image embeddings with some heads mean-ablated, as Parquet for use elsewhere."""
    from jobs.commands import export

    done = export.run(config)
    names = ", ".join(done.ablated[:SHOWN]) + (", ..." if len(done.ablated) > SHOWN else "")
    length = "unit-norm" if done.unit else "not made unit-norm again"
    console.note(
        f"{done.images:,} embeddings of {done.scan} with {len(done.ablated)} heads mean-ablated "
        f"({names}), {length}: {done.path} ({done.seconds:.1f} s)"
    )


def _groups(title: str, columns: Sequence[str], rows: "Iterable[GroupRow]") -> None:
    listed = list(rows)
    worst_first = sorted(listed, key=lambda row: row.accuracy[0])
    shown = [(*row.group, row.n, row.accuracy[0]) for row in worst_first[:SHOWN]]
    more = f" ({SHOWN} worst of {len(listed)})" if len(listed) > SHOWN else ""
    console.table(title + more, (*columns, "pictures", "accuracy"), shown)


def _ablated(
    title: str,
    columns: Sequence[str],
    groups: "Iterable[Ablated]",
    total: "Ablated",
    worst: "Ablated",
) -> None:
    listed = [(*row.group, *_figures(row)) for row in groups if row.group]
    blank = [""] * max(len(columns) - 1, 0)
    rows = [*listed, ("all", *blank, *_figures(total))]
    if listed:
        rows.append(("worst", *blank, None, *_figures(worst)[1:]))
    heads = tuple(columns) or ("",)
    console.table(title, (*heads, "pictures", "before", "after", "random heads", "their sd"), rows)


def _figures(row: "Ablated") -> tuple[object, ...]:
    return row.n, row.before, row.after, row.control_mean, row.control_sd


COMMANDS: tuple[Command, ...] = (
    Command("zeroshot", ZeroShotConfig, _zeroshot, ("classes",), NO_PUBLISH),
    Command("ablate", AblateConfig, _ablate),
    Command("spurious", SpuriousConfig, _spurious, (), NO_PUBLISH),
    Command("export", ExportConfig, _export, ("output",)),
)
