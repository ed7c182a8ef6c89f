"""`/what-if/CLASSIFIER`: heads as switches, and every group's accuracy before and after."""

from jobs.explore.charts import dumbbells
from jobs.explore.grid import Measure, grid_of
from jobs.explore.page import Later, Page, Panel, Route, State
from schemas.errors import UnknownName

CONTROLS = 5
CONTROL = "The same number of other heads"
_SHARE = Measure("variance_share", "share of the output's variance", ".1%")


def make(state: State) -> Page:
    """Return the page of a classifier's what-ifs.

    Raises:
        UnknownName: the scan has no such classifier.
    """
    known = [str(row["classifier"]) for row in state.ask("classifiers").rows]
    classifier = state.path.get("classifier") or (known[0] if known else "")
    if not known:
        none = Panel(
            "whatif",
            "What if",
            "table",
            state.ask("classifiers"),
            empty="no zero-shot classifier",
            command=f"headatlas zeroshot CLASSES --scan {state.scan}",
            wide=True,
        )
        return Page(title="What if", kind="what-if", panels=(none,))
    if classifier not in known:
        raise UnknownName.among("classifier", classifier, known)
    off = [name.strip().upper() for name in state.query.get("heads", "").split(",") if name.strip()]
    by = state.query.get("by", "label")
    panels: list[Panel | Later] = []
    if state.shows("switches", "groups"):
        panels += [_switches(state, classifier, off, by), _groups(state, classifier, off, by)]
    if off:
        panels.append(
            Later(
                "control",
                CONTROL,
                lambda s: _control(s, classifier, off, by),
                5,
            )
        )
    panels.append(_found(state, classifier, by))
    return Page(
        title=f"What if: {classifier}",
        lead="Switch heads off: each is replaced by its mean over all pictures, in the direct "
        "effect. The model is not run.",
        kind="what-if",
        panels=tuple(panels),
        header="whatif",
        context={
            "classifiers": known,
            "classifier": classifier,
            "by": by,
            "columns": ["label", *(str(r["attribute"]) for r in state.ask("attributes").rows)],
            "off": off,
        },
    )


def _switches(state: State, classifier: str, off: list[str], by: str) -> Panel:
    heads = state.ask("atlas_heads", effects=None)
    links = {
        str(row["name"]): state.url(
            "what-if",
            classifier,
            by=None if by == "label" else by,
            heads=[h for h in off if h != row["name"]]
            if row["name"] in off
            else [*off, row["name"]],
        )
        for row in heads.rows
    }
    context = {"grid": grid_of(heads.rows, _SHARE), "by": _SHARE, "links": links, "off": off}
    return Panel("switches", "Heads", "switchboard", heads, context, wide=True)


def _groups(state: State, classifier: str, off: list[str], by: str) -> Panel:
    found = state.ask("whatif_groups", classifier=classifier, heads=off, by=[by])
    groups = [r for r in found.rows if r["kind"] == "group"]
    order = sorted(groups, key=lambda r: (r["after"], r["members"]))[:24]
    return Panel(
        "groups",
        f"Accuracy by {by}",
        "groups",
        found,
        {
            "chart": dumbbells(order) if order else None,
            "rows": found.rows,
            "classifier": classifier,
        },
        lead="Ring: all heads. Dot: without those switched off. The worst groups first.",
    )


def _control(state: State, classifier: str, off: list[str], by: str) -> Panel:
    """Judge random heads of the same layers: a chosen set must differ from these."""
    return Panel(
        "control",
        CONTROL,
        "table",
        state.ask("whatif_control", classifier=classifier, heads=off, by=by, controls=CONTROLS),
        {"shares": ("mean", "worst")},
        empty="no other heads in these layers",
        lead="Random sets from the same layers; a set that means something does better than these.",
    )


def _found(state: State, classifier: str, by: str) -> Panel:
    found = state.ask("whatif_spurious", classifier=classifier)
    links = [
        (
            r["search"],
            r["attribute"],
            r["heads"],
            state.url("what-if", classifier, heads=r["heads"], by=r["attribute"]),
        )
        for r in found.rows
        if r["heads"]
    ]
    return Panel(
        "spurious",
        "Found by headatlas spurious",
        "spurious",
        found,
        {"links": links},
        empty="no search for spurious heads",
        command=f"headatlas spurious --classifier {classifier} --attribute COLUMN "
        f"--select COLUMN=VALUE --test COLUMN=VALUE --scan {state.scan}",
    )


ROUTE = Route("/what-if/{classifier:any}", "what-if-of", make)
LIST = Route("/what-if", "what-if", make, menu="What if", order=2)
