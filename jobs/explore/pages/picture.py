"""`/picture/KEY`: a picture, its neighbours by every role, and what each head makes of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from jobs.explore.charts import bars, dumbbells
from jobs.explore.database import Answer
from jobs.explore.page import Later, Page, Panel, Route, State

SHOWN = 8


def make(state: State) -> Page:
    """Return a picture's page."""
    key = state.path["key"]
    found = state.ask("picture", key=key)
    picture = found.first
    if picture is None:
        missing = Panel(
            "picture", "Picture", "table", found, empty=f"no picture {key!r} in scan {state.scan}"
        )
        return Page(title=key, kind="picture", panels=(missing,))
    panels: list[Panel | Later] = [
        Panel(
            "metadata", "What the listing says", "record", state.ask("picture_metadata", key=key)
        ),
        *(
            _classes(state, int(picture["image_id"]))
            if state.shows("classes", "heads", "whatif")
            else ()
        ),
        Panel("maps", "Where it looks for a text", "maps", context={"picture": picture}),
        Later(
            "embedding",
            "Alike by the whole embedding",
            lambda s: _row(
                s, "embedding", "Alike by the whole embedding", "picture_by_embedding", key
            ),
            rows=5,
            wide=True,
        ),
    ]
    for row in state.ask("roles").rows:
        panels.append(_by_role(str(row["role"]), key))
    return Page(
        title=key,
        lead=f"Label: {picture['label']}." if picture["label"] is not None else "",
        kind="picture",
        panels=tuple(panels),
        header="picture",
        context={"picture": picture},
    )


def _by_role(role: str, key: str) -> Later:
    title = f"Alike in {role}"
    return Later(
        f"role-{role}",
        title,
        lambda s: _row(s, f"role-{role}", title, "picture_by_role", key, role),
        rows=5,
        wide=True,
    )


def _row(
    state: State, name: str, title: str, statement: str, key: str, role: str | None = None
) -> Panel:
    return Panel(
        name,
        title,
        "neighbours",
        state.ask(statement, key=key, role=role),
        {"head": None},
        wide=True,
        empty="no neighbour",
    )


def _classes(state: State, image_id: int) -> list[Panel]:
    """Return the classes nearest to the picture, and the heads that tell the first two apart."""
    known = state.ask("classifiers")
    if not known.rows:
        return [
            Panel(
                "classes",
                "Classes",
                "table",
                known,
                empty="no zero-shot classifier",
                command=f"headatlas zeroshot CLASSES --scan {state.scan}",
            )
        ]
    names = [str(row["classifier"]) for row in known.rows]
    classifier = state.query.get("classifier", names[0])
    logits = state.ask("picture_logits", classifier=classifier, image_id=image_id)
    classes = {
        str(row["class_name"]): row["class"]
        for row in state.ask("classes", classifier=classifier).rows
    }
    # the class asked for, or the nearest; against it the one asked for, or the nearest other
    order = [str(row["class_name"]) for row in logits.rows]
    asked = [state.query.get(part, "") for part in ("class", "against")]
    one = next((name for name in (asked[0], *order) if name in classes), None)
    other = next((name for name in (asked[1], *order) if name in classes and name != one), None)
    panels = [
        Panel(
            "classes",
            f"Classes of {classifier}",
            "classes",
            logits,
            {
                "chart": bars(logits.rows, "class_name", "logit", "cosine", ".3f"),
                "alt": "; ".join(f"{r['class_name']} {r['logit']:.3f}" for r in logits.rows),
                "unknown": [name for name in asked if name and name not in classes],
                "classifiers": names,
                "classifier": classifier,
                "names": list(classes),
                "one": one,
                "other": other,
                "kept": {
                    name: value
                    for name, value in state.query.items()
                    if name not in ("classifier", "class", "against", "panel")
                },
            },
        )
    ]
    if one is not None and other is not None:
        ask = {"classifier": classifier, "image_id": image_id}
        pair = {"class": classes[one], "against": classes[other]}
        heads = state.ask("picture_heads", **ask, **pair)
        panels.append(_heads(state, f"Heads for {one} rather than {other}", heads))
        panels.append(_whatif(state, classifier, image_id, [str(r["name"]) for r in heads.rows]))
    return panels


def _heads(state: State, title: str, heads: Answer) -> Panel:
    """Return what each of some heads adds to the margin of one class over another."""
    return Panel(
        "heads",
        title,
        "chart",
        heads,
        {
            "chart": bars(heads.rows, "name", "margin", "added to the margin", ".3f"),
            "alt": "; ".join(f"{r['name']} {r['margin']:+.3f}" for r in heads.rows),
            "links": [(r["name"], state.url("head", str(r["name"]))) for r in heads.rows],
        },
    )


def _whatif(state: State, classifier: str, image_id: int, names: list[str]) -> Panel:
    """Return switches for the strongest heads, and what is left of the margin without some."""
    off = [name for name in state.query.get("off", "").split(",") if name]
    answer = state.ask("picture_whatif", classifier=classifier, heads=off, image_id=image_id)
    key = state.path["key"]
    chosen = {
        name: value
        for name, value in state.query.items()
        if name in ("classifier", "class", "against")
    }
    switches = [
        (
            name,
            name in off,
            state.url(
                "picture",
                key,
                off=[n for n in off if n != name] if name in off else [*off, name],
                **chosen,
            ),
        )
        for name in dict.fromkeys([*names[:10], *off])
    ]
    shown = [
        {"members": row["class_name"], "n": 1, "before": row["before"], "after": row["after"]}
        for row in answer.rows[:SHOWN]
    ]
    return Panel(
        "whatif",
        "Without some heads",
        "switches",
        answer,
        {
            "switches": switches,
            "outcome": _outcome(answer.rows),
            "all_on": state.url("picture", key, **chosen) if off else None,
            "chart": dumbbells(shown, "cosine", ".2f") if shown else None,
            "alt": "; ".join(f"{r['members']} {r['before']:.3f} {r['after']:.3f}" for r in shown),
        },
        lead="Each head switched off is replaced by its mean over all pictures, in the direct "
        "effect. Ring: with all heads. Dot: without.",
    )


def _outcome(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what is predicted before and after, and the margin of the first class before."""
    if not rows:
        return {}
    first, second = rows[0], rows[1] if len(rows) > 1 else None
    margins = {
        f"margin_{side}": None if second is None else first[side] - second[side]
        for side in ("before", "after")
    }
    return {
        "before": first["class_name"],
        "after": max(rows, key=lambda row: row["after"])["class_name"],
        "second": None if second is None else second["class_name"],
        "truth": next((row["class_name"] for row in rows if row["truth"]), None),
        **margins,
    }


ROUTE = Route("/picture/{key:any}", "picture", make)
