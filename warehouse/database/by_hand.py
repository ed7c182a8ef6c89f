"""Roles that a person has set, in the published database: over what any method has found."""

import json
from collections.abc import Sequence

import duckdb

from schemas.names import parse_head
from warehouse.database.inventory import Source
from warehouse.database.sqltext import load
from warehouse.files.layout import Warehouse
from warehouse.results.claims import Now
from warehouse.results.roles import manual_is_stale, read_manual


def set_by_hand(
    con: duckdb.DuckDBPyConnection, warehouse: Warehouse, sources: Sequence[Source]
) -> None:
    """Let the roles that a person has set override, and stand alone where no basis has roles."""
    for source in sources:
        scan = source.scan.name
        now = Now(warehouse, source.scan, source.record, source.snapshot)
        roles = []
        for name, said in read_manual(now).items():
            layer, head = parse_head(name)
            roles.append({"layer": layer, "head": head, **said})
        values = {"scan": scan, "roles": json.dumps(roles), "stale": manual_is_stale(now)}
        con.execute(load("roles/by_hand"), values)
        con.execute(load("roles/override"), {"scan": scan})
