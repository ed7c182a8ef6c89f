"""A view for each role of each scan, over the files of just the heads that carry it.

A role's heads are known when the database is built. One view of all heads would open every file
of the scan, and a join with head_roles decides too late which of them are needed.
"""

from collections.abc import Collection

import duckdb

from warehouse.database.sqltext import Sql, identifier, load, render


def create_roles(
    con: duckdb.DuckDBPyConnection, layers: Collection[str], none: Sql
) -> list[tuple[str, str]]:
    """Create schema by_role; return (scan, role) of its views `r1`, `r2`, ... in order.

    Args:
        con: the database being built, with head_roles and the views of by_layer.
        layers: the views of by_layer, as `SCAN/L22`.
        none: a query with the view's columns and no rows.
    """
    con.execute("CREATE SCHEMA by_role")
    con.execute(render("CREATE VIEW by_role.none AS :none", none=none))
    heads: dict[tuple[str, str], list[Sql]] = {}
    for scan, role, layer, head, bases in con.execute(load("roles/heads")).fetchall():
        view = f"{scan}/L{layer}"
        if view in layers:
            part = load("views/by_role", layer=layer, head=head, bases=bases, view=identifier(view))
            heads.setdefault((scan, role), []).append(part)
    for number, parts in enumerate(heads.values(), 1):
        con.execute(
            render(
                "CREATE VIEW by_role.:name AS :parts",
                name=identifier(view_name(number)),
                parts=Sql("\nUNION ALL\n".join(parts)),
            )
        )
    return list(heads)


def view_name(number: int) -> str:
    """Return the name of a role's view by its place in the order, from 1."""
    return f"r{number}"
