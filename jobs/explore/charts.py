"""Charts: pure functions from rows to Altair specifications, drawn in the browser by vega-embed."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from jobs.explore.grid import Measure
from jobs.explore.scales import Cell, name_colours

Rows = Sequence[Mapping[str, Any]]
Spec = dict[str, Any]
NO_PROPERTY: Final = "no property"
NEUTRAL: Final = "#9a9a94"


def scatter(rows: Rows, x: Measure, y: Measure, colour: Measure, size: Measure) -> Spec:
    """Return one point a head; a click opens its page."""
    alt = _altair()

    # by their part in the chart: a column's own name may hold what a field's may not
    parts = {"x": x, "y": y, "colour": colour, "size": size}
    data = [
        {c: row.get(c) for c in ("name", "role", "texts", "href")}
        | {part: row.get(measure.column) for part, measure in parts.items()}
        | {f"{part}_said": measure.say(row.get(measure.column)) for part, measure in parts.items()}
        for row in rows
    ]
    near = alt.Scale(zero=False, padding=12, nice=False)
    if colour.form == "name":
        kind, named = "N", name_colours([str(d["colour"]) for d in data if d["colour"]])
        for one in data:
            one["colour"] = one["colour"] or "none"
        scale = _of_names(named, "none")
    else:
        kind, scale = "Q", alt.Scale(scheme="viridis", reverse=colour.reverse)
    chart = (
        _chart()
        .mark_circle(opacity=0.85)
        .encode(
            x=alt.X("x:Q", title=x.title, axis=_axis(x), scale=near),
            y=alt.Y("y:Q", title=y.title, axis=_axis(y), scale=near),
            color=alt.Color(f"colour:{kind}", title=colour.title, scale=scale),
            size=alt.Size("size:Q", title=size.title, legend=None),
            href="href:N",
            tooltip=[
                "name:N",
                "role:N",
                "texts:N",
                *(
                    alt.Tooltip(f"{part}_said:N", title=title)
                    for part, title in {p: m.title for p, m in parts.items()}.items()
                ),
            ],
        )
        .properties(width="container", height=360)
    )
    return _spec(chart, data)


def texts(rows: Rows, roles: Sequence[str]) -> Spec:
    """Return a head's texts as bars of what they explain together, with the ceiling of PCA.

    Properties that are roles of some head have the colours that these have in the atlas.
    """
    alt = _altair()

    data = [
        {
            "text": f"{row['rank'] + 1}. {row['text']}",
            "explained": row["explained"],
            "cumulative": row["cumulative"],
            "ceiling": row["pca_cumulative"],
            "property": row["property"] or NO_PROPERTY,
        }
        for row in rows
    ]
    order = [row["text"] for row in data]
    named = name_colours([str(d["property"]) for d in data if d["property"] != NO_PROPERTY], roles)
    scale = _of_names(named, *([NO_PROPERTY] if any(not row["property"] for row in rows) else []))
    base = _chart().encode(y=alt.Y("text:N", sort=order, title=None, axis=alt.Axis(labelLimit=260)))
    bars = base.mark_bar(height={"band": 0.7}).encode(
        x=alt.X("cumulative:Q", title="variance explained so far", axis=alt.Axis(format=".0%")),
        color=alt.Color(
            "property:N",
            title=None,
            scale=scale,
            legend=alt.Legend(orient="bottom", columns=2, columnPadding=4),
        ),
        tooltip=[
            "text:N",
            "property:N",
            alt.Tooltip("explained:Q", format=".1%", title="by this text"),
            alt.Tooltip("cumulative:Q", format=".1%", title="so far"),
            alt.Tooltip("ceiling:Q", format=".1%", title="most possible"),
        ],
    )
    ceiling = base.mark_tick(thickness=2, color="#888").encode(x="ceiling:Q")
    return _spec(
        (bars + ceiling).properties(width="container", height=max(120, 24 * len(data))), data
    )


def bars(rows: Rows, name: str, value: str, title: str, form: str = ".0%") -> Spec:
    """Return one bar a row, in the order given; negative values to the left."""
    alt = _altair()

    data = [{"name": str(row[name]), "value": row[value]} for row in rows]
    chart = (
        _chart()
        .mark_bar(height={"band": 0.7})
        .encode(
            y=alt.Y("name:N", sort=[row["name"] for row in data], title=None),
            x=alt.X("value:Q", title=title, axis=alt.Axis(format=form)),
            color=alt.condition("datum.value < 0", alt.value("#b6552a"), alt.value("#4e79a7")),
            tooltip=["name:N", alt.Tooltip("value:Q", format=form, title=title)],
        )
        .properties(width="container", height=max(80, 24 * len(data)))
    )
    return _spec(chart, data)


def dumbbells(rows: Rows, title: str = "accuracy", form: str = ".1~%") -> Spec:
    """Return a number of each group before and after, joined by a line."""
    alt = _altair()

    data = [
        {"group": row["members"], "before": row["before"], "after": row["after"], "n": row["n"]}
        for row in rows
    ]
    order = [row["group"] for row in data]
    base = _chart().encode(y=alt.Y("group:N", sort=order, title=None))
    axis = alt.Axis(format=form, tickCount=6)
    line = base.mark_rule(color="#888").encode(
        x=alt.X("before:Q", title=title, scale=alt.Scale(zero=False), axis=axis), x2="after:Q"
    )
    tip = [
        "group:N",
        "n:Q",
        alt.Tooltip("before:Q", format=form.replace("2f", "4f")),
        alt.Tooltip("after:Q", format=form.replace("2f", "4f")),
    ]
    before = base.mark_point(size=70, color="#888").encode(x="before:Q", tooltip=tip)
    after = base.mark_circle(size=90, color="#b6552a").encode(x="after:Q", tooltip=tip)
    return _spec(
        (line + before + after).properties(width="container", height=max(80, 26 * len(data))), data
    )


def against(rows: Rows) -> Spec:
    """Return one point a target: mean |direct| across, mean |total| up, and where both are one."""
    alt = _altair()

    most = max(max(row["abs_direct"] or 0, row["abs_total"] or 0) for row in rows)
    data: list[dict[str, Any]] = [
        {
            "target": row["target"],
            "direct": row["abs_direct"],
            "total": row["abs_total"],
            "low": row["abs_total"] - (row["se_total"] or 0),
            "high": row["abs_total"] + (row["se_total"] or 0),
        }
        for row in rows
    ]
    data += [{"end": 0.0}, {"end": most}]
    form = alt.Axis(format="~g", tickCount=5)
    x = alt.X("direct:Q", title="direct effect, mean |·|", axis=form)
    y = alt.Y("total:Q", title="total effect, mean |·|", axis=form)
    line = _chart().mark_line(color="#888", strokeDash=[4, 4]).encode(x="end:Q", y="end:Q")
    points = (
        _chart()
        .transform_filter("isValid(datum.target)")
        .mark_circle(size=70, opacity=0.8, color="#4e79a7")
        .encode(
            x=x,
            y=y,
            tooltip=[
                "target:N",
                alt.Tooltip("direct:Q", format=".3~g"),
                alt.Tooltip("total:Q", format=".3~g"),
            ],
        )
    )
    error = points.mark_rule(color="#4e79a7", opacity=0.35).encode(y="low:Q", y2="high:Q")
    layers = line.transform_filter("isValid(datum.end)") + error + points
    return _spec(layers.properties(width="container", height=260), data)


def _chart() -> Any:
    alt = _altair()

    return alt.Chart(alt.Data(values=[]))


def _altair() -> Any:
    """Return Altair, after NumPy.

    Altair asks whether NumPy is there, and would use what another thread is still importing, for a
    picture: importing it here waits for that.
    """
    importlib.import_module("numpy")
    return importlib.import_module("altair")


def _of_names(named: Mapping[str, Cell], *rest: str) -> Any:
    """Return the scale of names' colours; what is none of them is grey."""
    alt = _altair()
    colours = [cell.colour for cell in named.values()]
    return alt.Scale(domain=[*named, *rest], range=[*colours, NEUTRAL])


def _axis(measure: Measure) -> Any:
    alt = _altair()
    form = measure.form if measure.form.endswith(("%", "f")) else "~g"
    return alt.Axis(format=form, tickCount=8)


def _spec(chart: Any, data: Rows) -> Spec:
    """Return a chart's specification over `data`.

    Rows go in last: Altair would look through each of them several times, which takes most of a
    page of 1,000 heads.
    """
    spec: Spec = chart.to_dict(validate=False)
    for layer in spec.get("layer", ()):
        layer.pop("data", None)
    spec["data"] = {"values": list(data)}
    return spec
