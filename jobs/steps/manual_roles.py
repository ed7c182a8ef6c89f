"""Roles that a person sets: kept beside the results, and copied into every basis' roles."""

from typing import Any

import pyarrow as pa

from schemas.names import parse_head
from schemas.results.roles import MANUAL, roles_schema
from warehouse.results.roles import ByHand


def with_manual(table: pa.Table, roles: ByHand) -> pa.Table:
    """Return roles with the rows set by hand replaced by `roles`."""
    rows = [row for row in table.to_pylist() if row["method"] != MANUAL]
    for name, said in roles.items():
        layer, head = parse_head(name)
        rows.append(role_row(layer, head, MANUAL, role=said["role"], note=said["note"]))
    rows.sort(key=lambda row: (row["layer"], row["head"], row["method"]))
    return pa.Table.from_pylist(rows, schema=roles_schema())


def role_row(layer: int, head: int, method: str, **given: Any) -> dict[str, Any]:
    """Return a row of roles.parquet; what is not given is NULL."""
    return {
        **dict.fromkeys(roles_schema().names),
        "layer": layer,
        "head": head,
        "method": method,
        **given,
    }
