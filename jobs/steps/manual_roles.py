"""Roles that a person sets: kept beside the results, and copied into every basis' roles."""

import json
from typing import Any

import pyarrow as pa

from schemas.errors import CorruptStore, UsageError
from schemas.names import parse_head
from schemas.results.manual_roles import OLD_FILE
from schemas.results.roles import MANUAL, roles_schema
from warehouse.files.layout import ScanDir


def read_manual(scan: ScanDir) -> dict[str, dict[str, str | None]]:
    """Return the roles set by hand: head -> role and note.

    Raises:
        CorruptStore: the file is not what was written.
    """
    path = scan.path / OLD_FILE
    if not path.is_file():
        return {}
    try:
        found: dict[str, dict[str, str | None]] = json.loads(path.read_text())
        for name, said in found.items():
            parse_head(name)
            said["role"], said["note"]
    except (ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
        raise CorruptStore(
            f"{path} cannot be read: {error}; expected head -> role and note: mend or delete it"
        ) from None
    return found


def with_manual(table: pa.Table, roles: dict[str, dict[str, str | None]]) -> pa.Table:
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
