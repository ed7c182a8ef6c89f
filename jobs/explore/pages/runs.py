"""`/runs`: every run that wrote: when, what, how many, how fast, and how it ended."""

from jobs.explore.page import Page, Panel, Route, State


def make(state: State) -> Page:
    """Return the last runs."""
    return Page(
        title="Runs",
        lead="What was written to this warehouse, newest first.",
        kind="runs",
        panels=(
            Panel(
                "runs",
                "Runs",
                "table",
                state.ask("runs"),
                empty="no run has been recorded yet",
                command="headatlas refresh CONFIG.yaml",
                wide=True,
            ),
        ),
    )


ROUTE = Route("/runs", "runs", make, menu="Runs", order=6)
