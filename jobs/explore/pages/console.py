"""`/sql`: a read-only console with the catalogue, and the documentation's own examples."""

from typing import Final

from jobs.explore.database import Answer
from jobs.explore.page import Page, Panel, Route, State
from schemas.errors import HeadAtlasError

ROWS: Final = 1000


def make(state: State) -> Page:
    """Return the console, with the answer to the statement in the URL if there is one."""
    statement = state.query.get("q", "").strip()
    panels = []
    if statement:
        panels.append(_asked(state, statement))
    panels.append(
        Panel("tables", "Tables and views", "catalogue", state.ask("catalogue"), wide=True)
    )
    panels.append(Panel("macros", "Macros", "catalogue", state.ask("catalogue_macros"), wide=True))
    return Page(
        title="SQL",
        lead="Anything the pages show, and all the rest: DuckDB, read-only.",
        kind="sql",
        panels=tuple(panels),
        header="console",
        context={"statement": statement, "rows": ROWS, "examples": examples()},
    )


def _asked(state: State, statement: str) -> Panel:
    try:
        found = state.cursor.console(statement, ROWS)
    except HeadAtlasError as error:
        found = Answer(statement, complaint=str(error))
    return Panel("answer", "Answer", "table", found, empty="no rows", wide=True)


def examples() -> tuple[tuple[str, str], ...]:
    """Return the documentation's own examples: a table's or macro's name, and its statement."""
    from schemas.macros import MACROS
    from schemas.tables import TABLES

    return (
        *((table.name, table.example) for table in TABLES),
        *((macro.name, macro.example) for macro in MACROS),
    )


ROUTE = Route("/sql", "sql", make, menu="SQL", order=5)
