"""`/compare?a=&b=`: two scans side by side: roles, heads in the same place, matched heads."""

from jobs.explore.page import Page, Panel, Route, State


def make(state: State) -> Page:
    """Return the comparison of two scans; by default the chosen one and the next."""
    scans = [str(row["scan_id"]) for row in state.ask("scans").rows]
    a = state.query.get("a") or state.scan
    b = state.query.get("b") or next((s for s in scans if s != a), a)
    sides = {"a": a, "b": b}
    panels = (
        Panel(
            "roles",
            "Roles",
            "table",
            state.ask("compare_roles", **sides),
            empty="no roles in either scan",
        ),
        Panel(
            "heads",
            "Heads in the same place",
            "heads",
            state.ask("compare_heads", **sides),
            empty="the two towers share no layer and head",
            lead="Heads whose share of the output's variance differs most.",
            wide=True,
        ),
        Panel(
            "matches",
            "Matched heads",
            "heads",
            state.ask("compare_matches", **sides),
            empty="these two scans have not been matched"
            if a != b
            else "there is no other scan to match with",
            command=f"headatlas match {a} {b}" if a != b else None,
            lead=f"For every head of {a} the head of {b} that writes most alike over the pictures "
            "both have seen, and what chance would give.",
            wide=True,
        ),
        Panel(
            "drift",
            f"Drift of {a} since an earlier snapshot",
            "heads",
            state.ask("compare_drift", **sides),
            empty="not measured for this scan; it needs two snapshots",
            command=f"headatlas drift --scan {a}",
            lead="How far the distribution of what a head writes has moved, in its own variance.",
            wide=True,
        ),
    )
    return Page(
        title="Compare",
        lead="Two models over the same pictures, or two data sets under one model.",
        kind="compare",
        panels=panels,
        header="compare",
        context={"scans": scans, **sides},
    )


ROUTE = Route("/compare", "compare", make, menu="Compare", order=4)
