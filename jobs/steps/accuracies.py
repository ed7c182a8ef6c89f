"""Accuracies of groups of pictures, before and after heads are switched off, as printed tables."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from jobs import console

if TYPE_CHECKING:
    from jobs.steps.ablated import Ablated
    from jobs.steps.whatif import GroupRow

# Rows of a long table, and heads of a long list, that are shown.
SHOWN = 20


def show_groups(title: str, columns: Sequence[str], rows: "Iterable[GroupRow]") -> None:
    """Print groups' accuracies, the worst first."""
    listed = list(rows)
    worst_first = sorted(listed, key=lambda row: row.accuracy[0])
    shown = [(*row.group, row.n, row.accuracy[0]) for row in worst_first[:SHOWN]]
    more = f" ({SHOWN} worst of {len(listed)})" if len(listed) > SHOWN else ""
    console.table(title + more, (*columns, "pictures", "accuracy"), shown)


def show_ablated(
    title: str,
    columns: Sequence[str],
    groups: "Iterable[Ablated]",
    total: "Ablated",
    worst: "Ablated",
) -> None:
    """Print groups' accuracies before and after, of all pictures, and of the worst group."""
    listed = [(*row.group, *_figures(row)) for row in groups if row.group]
    blank = [""] * max(len(columns) - 1, 0)
    rows = [*listed, ("all", *blank, *_figures(total))]
    if listed:
        rows.append(("worst", *blank, None, *_figures(worst)[1:]))
    heads = tuple(columns) or ("",)
    console.table(title, (*heads, "pictures", "before", "after", "random heads", "their sd"), rows)


def _figures(row: "Ablated") -> tuple[object, ...]:
    return row.n, row.before, row.after, row.control_mean, row.control_sd
