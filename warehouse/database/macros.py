"""The macros: a declaration of `schemas.macros` and its `sql/macros/NAME.sql`, put together.

A scalar macro's file is its expression. A table macro's is a list of common table expressions,
two of them named `answer`, its rows, and `complaint`, one row whose `text` is NULL or says what
was wrong with the question. One tail, written here for all, raises that text.

`:part.NAME` stands for the text of `sql/parts/NAME.sql`, what macros share: a macro in a macro
would cost planning, and some of it (MATERIALIZED, query_table) cannot be a macro of its own.
"""

import re
from collections.abc import Iterable
from graphlib import TopologicalSorter
from typing import Final

from schemas.macros import MACROS
from schemas.relations import Macro
from warehouse.database.sqltext import Sql, Value, identifier, render, template

_CALL: Final = re.compile(r"\b([a-z_]+)\(")
_PART: Final = re.compile(r":part\.([a-z_]+)")


def definition(macro: Macro, **values: Value) -> Sql:
    """Return the statement that creates a macro; `values` are its placeholders."""
    parameters = ", ".join(
        identifier(p.name) if p.default is None else f"{identifier(p.name)} := {p.default}"
        for p in macro.parameters
    )
    body = render(_written(macro.name), **values)
    if macro.kind == "table":
        body = Sql(f"TABLE\n{body}\n{_tail(macro)}")
    return render(
        "CREATE MACRO :name(:parameters) AS :body",
        name=identifier(macro.name),
        parameters=render(parameters, **values),
        body=body,
    )


def _written(name: str) -> str:
    """Return a macro's file with the parts that it shares with others put in."""
    return _PART.sub(lambda part: template(f"parts/{part[1]}").rstrip(), template(f"macros/{name}"))


def _tail(macro: Macro) -> Sql:
    """Return the rows of `answer`, or the complaint as an error, whatever stands around the macro.

    Each column raises, since DuckDB drops a branch of constants under a filter; the branch's own
    filter raises where no column is asked for; and no answer is given beside a complaint, since
    LIMIT and EXISTS stop at the first row.
    """
    answer = ", ".join(f"a.{identifier(c.name)}" for c in macro.columns)
    errors = ", ".join(f"error(c.text)::{c.type}" for c in macro.columns)
    order = ", ".join(identifier(name) for name in macro.order)
    return render(
        """SELECT :answer FROM answer AS a CROSS JOIN complaint AS c WHERE c.text IS NULL
UNION ALL
SELECT :errors FROM complaint AS c
WHERE CASE WHEN c.text IS NULL THEN false ELSE error(c.text) IS NOT NULL END
:order""",
        answer=Sql(answer),
        errors=Sql(errors),
        order=Sql(f"ORDER BY {order}" if order else ""),
    )


def in_order(macros: Iterable[Macro] = MACROS) -> list[Macro]:
    """Return macros such that each follows those that it calls: DuckDB looks them up when made."""
    named = {m.name: m for m in macros}
    calls = {
        name: {c for c in _CALL.findall(_written(name)) if c in named and c != name}
        for name in named
    }
    return [named[name] for name in TopologicalSorter(calls).static_order()]
