"""Roles that a person sets: kept beside the results, and copied into every basis' roles."""

import json
from typing import Any

import pyarrow as pa

from schemas.config_roles import RoleSetConfig
from schemas.errors import CorruptStore, UnknownName, UsageError
from schemas.names import head_name, parse_head
from schemas.results.manual_roles import OLD_FILE
from schemas.results.roles import MANUAL, ROLES, roles_schema
from warehouse.files.atomic import write_text
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.results.files import list_results, read_result, write_result
from warehouse.store import snapshots


def run_set(config: RoleSetConfig) -> dict[str, dict[str, str | None]]:
    """Set or take back a head's role; return all roles set by hand, by head.

    Raises:
        UsageError: not one of a role and --remove.
        UnknownName: the scan does not store that head, or it has no role to take back.
    """
    if (config.role is None) != config.remove:
        raise UsageError(f"{config.head}: give a role, or --remove to take one back")
    layer, head = parse_head(config.head)
    scan, _ = snapshots.open_scan(Warehouse(config.warehouse), config.scan)
    record = scan.load_record()
    if layer not in record.layers or head >= record.model.n_heads:
        known = [f"L{i}H0 to L{i}H{record.model.n_heads - 1}" for i in record.layers]
        raise UnknownName.among(f"head in scan {scan.name!r}", config.head, known)
    roles = read_manual(scan)
    name = head_name(layer, head)
    if config.remove:
        if name not in roles:
            raise UnknownName.among("head with a role set by hand", name, roles)
        del roles[name]
    else:
        roles[name] = {"role": config.role, "note": config.note}
    write_text(scan.path / OLD_FILE, json.dumps(roles, indent=2, sort_keys=True) + "\n")
    for path in list_results(scan, ROLES):
        table, provenance = read_result(path)
        write_result(path, with_manual(table, roles), provenance)
    return roles


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
