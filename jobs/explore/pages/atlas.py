"""`/`: every head at once, as a grid by a number of choice, a free scatter, and a finder."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from jobs.explore.charts import scatter
from jobs.explore.database import Answer
from jobs.explore.grid import Measure, grid_of
from jobs.explore.page import Later, Page, Panel, Route, State

MEASURES: Final = (
    Measure("variance_share", "share of the output's variance", ".1%"),
    Measure("explained", "explained by its texts", ".0%"),
    Measure("effective_rank", "directions in use", ".1f"),
    Measure("role", "role", "name"),
    Measure("q_value", "q of its role", ".2g", reverse=True),
    Measure("stability", "stability of its role", ".0%"),
    Measure("r2", "R² of its best attribute", ".0%"),
    Measure("abs_total", "total effect, mean |·| over targets", ".2g"),
    Measure("abs_direct", "direct effect, mean |·| over targets", ".2g"),
    Measure("abs_indirect", "indirect effect, mean |total − direct|", ".2g"),
    Measure("repair", "share that later layers repair, median over targets", ".0%"),
    Measure("mean_norm", "length of its mean", ".2g"),
)

SCATTER: Final = "Any two numbers"


def make(state: State) -> Page:
    """Return the atlas of a scan."""
    runs = [str(row["effects"]) for row in state.ask("effects_runs").rows]
    effects = state.query.get("effects") or (runs[0] if runs else None)
    heads, attributes = _by_attribute(state.ask("atlas_heads", effects=effects))
    measures = (*MEASURES, *attributes)
    there = [m for m in measures if any(row.get(m.column) is not None for row in heads.rows)]
    chosen = _named(there, state.query.get("by"), 0)
    panels: tuple[Panel | Later, ...] = (
        _grid(state, heads, there, chosen, (runs, effects)),
        Later("scatter", SCATTER, lambda s: _scatter(s, heads, there), 15, True, narrow=21),
        *_finder(state),
        _last_run(state),
        _rejects(state),
        _stale(state),
    )
    scan = next((s for s in state.ask("scans").rows if s["scan_id"] == state.scan), None)
    return Page(
        title="Atlas of heads",
        lead="What every attention head of the image encoder writes into the embedding.",
        kind="atlas",
        panels=panels,
        header="atlas",
        context={"scan": scan},
    )


def _by_attribute(heads: Answer) -> tuple[Answer, list[Measure]]:
    """Return the heads with a number for each attribute of the pictures, and those numbers."""
    rows = [
        {**row, **{f"r2:{one['attribute']}": one["r2"] for one in row["r2_by_attribute"] or ()}}
        for row in heads.rows
    ]
    names = sorted({column for row in rows for column in row if column.startswith("r2:")})
    found = [Measure(name, f"R² of {name.removeprefix('r2:')}", ".0%") for name in names]
    return replace(heads, rows=tuple(rows)), found


def _named(there: Sequence[Measure], name: str | None, default: int) -> Measure:
    """Return the measure asked for, or the one at `default`."""
    for measure in there:
        if measure.column == name:
            return measure
    return there[min(default, len(there) - 1)] if there else MEASURES[0]


def _grid(
    state: State,
    heads: Answer,
    there: Sequence[Measure],
    by: Measure,
    effects: tuple[Sequence[str], str | None],
) -> Panel:
    return Panel(
        "grid",
        "Layers and heads",
        "grid",
        heads,
        {
            "grid": grid_of(heads.rows, by),
            "measures": there,
            "by": by,
            "runs": effects[0],
            "effects": effects[1],
            "kept": {k: v for k, v in state.query.items() if k not in ("by", "effects")},
        },
        empty="this scan has stored no head",
        command=f"headatlas scan SOURCE --scan {state.scan} …",
        wide=True,
    )


def _finder(state: State) -> list[Panel]:
    word = state.query.get("find", "").strip()
    kept = {k: v for k, v in state.query.items() if k != "find"}
    if not word:
        return [Panel("find", "Find a head", "finder", context={"word": "", "kept": kept})]
    found = state.ask("atlas_find", find=word)
    return [
        Panel(
            "find",
            "Find a head",
            "finder",
            found,
            {"word": word, "kept": kept},
            empty=f"no role and no text of this basis holds “{word}”",
        )
    ]


def _scatter(state: State, heads: Answer, there: Sequence[Measure]) -> Panel:
    numbers = [m for m in there if m.form != "name"]
    x, y = _named(numbers, state.query.get("x"), 2), _named(numbers, state.query.get("y"), 1)
    colour = _named(there, state.query.get("colour") or "role", 0)
    size = _named(numbers, state.query.get("size"), 0)
    rows: list[Mapping[str, Any]] = [
        {**row, "href": state.url("head", row["name"]), "texts": " · ".join(row["texts"] or ())}
        for row in heads.rows
    ]
    return Panel(
        "scatter",
        SCATTER,
        "scatter",
        heads,
        {
            "chart": scatter(rows, x, y, colour, size) if numbers else None,
            "measures": numbers,
            "colours": there,
            "chosen": {"x": x, "y": y, "colour": colour, "size": size},
            "kept": {k: v for k, v in state.query.items() if k not in ("x", "y", "colour", "size")},
        },
        empty="this scan has stored no head",
        wide=True,
    )


def _last_run(state: State) -> Panel:
    return Panel(
        "last-run",
        "The last run",
        "record",
        state.ask("atlas_last_run"),
        empty="no run has been recorded yet",
        command="headatlas refresh CONFIG.yaml",
    )


def _rejects(state: State) -> Panel:
    return Panel(
        "rejects",
        "Pictures that could not be used",
        "table",
        state.ask("atlas_rejects"),
        empty="none: every picture of the source is stored",
    )


def _stale(state: State) -> Panel:
    return Panel(
        "stale",
        "Results that are out of date",
        "table",
        state.ask("atlas_stale"),
        empty="none: every result was made from what the scan holds now",
    )


ROUTE = Route("/", "atlas", make, menu="Atlas", order=0)
