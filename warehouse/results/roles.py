"""What heads do, read back: by any method, and by hand, which overrides."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from schemas.errors import CorruptStore, UnknownName, UsageError
from schemas.names import head_name, parse_head
from schemas.results import KINDS
from schemas.results.manual_roles import MANUAL_ROLES, OLD_FILE, manual_roles_schema
from schemas.results.roles import MANUAL, ROLES
from warehouse.files.layout import ScanDir
from warehouse.results.claims import Now, foreign
from warehouse.results.files import list_results, read_provenance, read_result, write_result
from warehouse.results.registry import result_path

ByHand = dict[str, dict[str, str | None]]
"""Roles set by hand: head -> role and note."""


def manual_path(now: Now) -> Path:
    """Return the file of the roles that were set by hand for the scan's weights."""
    if now.scan is None or now.record is None:
        raise ValueError("roles belong to a scan")
    return result_path(now.scan, KINDS[MANUAL_ROLES], now.record.model.weights_sha256[:16])


def read_manual(now: Now) -> ByHand:
    """Return the roles set by hand for the weights that the scan has now.

    Those of format 1 do not say their weights; they stand until one is set anew.

    Raises:
        CorruptStore: the file is not what was written.
    """
    path = manual_path(now)
    if path.is_file():
        rows = read_result(path)[0].to_pylist()
        return {
            head_name(row["layer"], row["head"]): {"role": row["role"], "note": row["note"]}
            for row in rows
        }
    return _read_old(path.parent.parent / OLD_FILE)


def manual_is_stale(now: Now) -> bool:
    """Whether the roles set by hand do not say which weights they are of."""
    return not manual_path(now).is_file()


def write_manual(now: Now, roles: ByHand) -> None:
    """Keep the roles set by hand for the weights that the scan has now."""
    rows = []
    for name, said in sorted(roles.items()):
        layer, head = parse_head(name)
        rows.append({"layer": layer, "head": head, **said})
    table = pa.Table.from_pylist(rows, schema=manual_roles_schema())
    write_result(manual_path(now), table, now.provenance(now.claim(KINDS[MANUAL_ROLES])))


def _read_old(path: Path) -> ByHand:
    if not path.is_file():
        return {}
    try:
        found: ByHand = json.loads(path.read_text(encoding="utf-8"))
        for name, said in found.items():
            parse_head(name)
            said["role"], said["note"]
    except (ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
        raise CorruptStore(
            f"{path} cannot be read: {error}; expected head -> role and note: mend it by hand"
        ) from None
    return found


def heads_of_role(
    scan: ScanDir, role: str, basis: str | None = None
) -> tuple[tuple[int, int], ...]:
    """Return (layer, head) of the heads that carry a role, in any basis or one, sorted.

    Raises:
        UnknownName: no head carries it; the message lists the roles that there are.
    """
    said = roles_in_force(scan, basis)
    found = {head for head, of in said if of == role}
    if not found:
        where = f"scan {scan.name!r}" + (f" and basis {basis!r}" if basis else "")
        raise UnknownName.among(f"head of {where} with role", role, {of for _, of in said})
    return tuple(sorted(found))


def roles_in_force(scan: ScanDir, basis: str | None = None) -> set[tuple[tuple[int, int], str]]:
    """Return ((layer, head), role) of all heads that carry one, in any basis or one.

    A role set by hand overrides what other methods say of that head, and stands alone where no
    basis has roles. Roles of another model or configuration do not count.
    """
    now = Now.of(scan)
    said: set[tuple[tuple[int, int], str]] = set()
    alone = basis is None
    for path in list_results(scan, ROLES):
        provenance = read_provenance(path)
        if foreign(now.broken(KINDS[ROLES], provenance)):
            continue
        alone = False
        if basis in (None, provenance.get("basis"), path.stem):
            said |= _in_force(read_result(path)[0].to_pylist())
    if alone:
        said |= {(parse_head(name), str(one["role"])) for name, one in read_manual(now).items()}
    return said


def _in_force(rows: list[Mapping[str, Any]]) -> set[tuple[tuple[int, int], str]]:
    """Return the roles of one basis, those set by hand over any other of the same head."""
    by_hand = {(row["layer"], row["head"]) for row in rows if row["method"] == MANUAL}
    return {
        ((row["layer"], row["head"]), row["role"])
        for row in rows
        if row["role"] is not None
        and (row["method"] == MANUAL or (row["layer"], row["head"]) not in by_hand)
    }
