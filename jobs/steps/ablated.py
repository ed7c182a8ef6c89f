"""What a streamed ablation reads, and the accuracies that it gives, by group."""

from dataclasses import dataclass

from jobs.steps.opened import open_scan
from jobs.steps.whatif import Key, Scene, Tally, spread
from warehouse.files.layout import Warehouse
from warehouse.results.classifiers import read_classifier
from warehouse.store.columns import require_columns


@dataclass(frozen=True)
class Ablated:
    """Accuracy of one group, as shares.

    Attributes:
        group: values of the columns asked for; empty for all pictures.
        control_mean: over random sets of as many heads; None without control.
        control_sd: their sample standard deviation.
    """

    group: Key
    n: int
    before: float
    after: float
    control_mean: float | None
    control_sd: float | None


def open_scene(
    warehouse: Warehouse,
    scan: str | None,
    classifier: str,
    group_by: tuple[str, ...],
    keep: tuple[str, str] | None = None,
    label_column: str | None = None,
) -> Scene:
    """Open what a streamed ablation reads: the scan's newest snapshot, and its classifier.

    Raises:
        UnknownName: no such scan, classifier or column.
    """
    opened = open_scan(warehouse, scan)
    found = read_classifier(warehouse, opened.scan, classifier)
    column = label_column or found.label_column
    require_columns(opened.scan, opened.shards, [column, *group_by, *([keep[0]] if keep else [])])
    return Scene(
        opened=opened,
        means=opened.means(),
        classifier=found,
        label_column=column,
        group_by=group_by,
        keep=keep,
    )


ALL_AFTER = slice(2, None)


def group_rows(tally: Tally, case: int = 1, control: slice = ALL_AFTER) -> list[Ablated]:
    """Return one row per group; the cases of `control` are the random sets."""
    return [
        Ablated(
            row.group,
            row.n,
            row.accuracy[0],
            row.accuracy[case],
            *_spread(row.accuracy[control]),
        )
        for row in tally.rows()
    ]


def total_row(tally: Tally, case: int = 1, control: slice = ALL_AFTER) -> Ablated:
    """Return accuracy over all pictures."""
    shares = [tally.accuracy(i) or 0.0 for i in range(tally.cases)]
    n = tally.n.total()
    return Ablated((), n, shares[0], shares[case], *_spread(shares[control]))


def worst_row(tally: Tally, case: int = 1, control: slice = ALL_AFTER) -> Ablated:
    """Return the lowest group's accuracy, in each case by itself."""
    shares = [tally.worst(i) for i in range(tally.cases)]
    after = min(tally.rows(), key=lambda row: row.accuracy[case])
    return Ablated(after.group, after.n, shares[0], shares[case], *_spread(shares[control]))


def _spread(values: tuple[float, ...] | list[float]) -> tuple[float | None, float | None]:
    return spread(values) if values else (None, None)
