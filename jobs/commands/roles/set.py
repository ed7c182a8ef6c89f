"""Set a head's role by hand, or take it back; kept through rebuilds."""

from pathlib import Path

from pydantic import Field

from jobs import console
from jobs.steps.manual_roles import with_manual
from schemas.config import Config
from schemas.errors import UnknownName, UsageError
from schemas.names import head_name, parse_head
from schemas.results import KINDS
from schemas.results.roles import ROLES
from warehouse.files.layout import Warehouse
from warehouse.results.claims import Now, foreign
from warehouse.results.files import list_results, read_result, write_result
from warehouse.results.roles import ByHand, read_manual, write_manual
from warehouse.store import snapshots

ARGUMENTS = ("head", "role")
PUBLISHES = True


class RoleSetConfig(Config):
    """Options of `headatlas roles set`."""

    head: str = Field(description="The head, as L22H11.")
    role: str | None = Field(default=None, description="Its role, as colour.")
    warehouse: Path = Field(description="Folder of the warehouse.")
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
    note: str | None = Field(default=None, description="Why, in one line.")
    remove: bool = Field(default=False, description="Take back the role set by hand.")


def run(config: RoleSetConfig) -> ByHand:
    """Set or take back a head's role; return all roles set by hand, by head.

    Raises:
        UsageError: not one of a role and --remove.
        UnknownName: the scan does not store that head, or it has no role to take back.
    """
    if (config.role is None) != config.remove:
        raise UsageError(f"{config.head}: give a role, or --remove to take one back")
    layer, head = parse_head(config.head)
    scan, _ = snapshots.open_scan(Warehouse(config.warehouse), config.scan)
    now, record = Now.of(scan), scan.load_record()
    if layer not in record.layers or head >= record.model.heads_of(layer):
        known = [f"L{i}H0 to L{i}H{record.model.heads_of(i) - 1}" for i in record.layers]
        raise UnknownName.among(f"head in scan {scan.name!r}", config.head, known)
    roles = read_manual(now)
    name = head_name(layer, head)
    if config.remove:
        if name not in roles:
            raise UnknownName.among("head with a role set by hand", name, roles)
        del roles[name]
    else:
        roles[name] = {"role": config.role, "note": config.note}
    write_manual(now, roles)
    for path in list_results(scan, ROLES):
        table, provenance = read_result(path)
        if not foreign(now.broken(KINDS[ROLES], provenance)):
            write_result(path, with_manual(table, roles), provenance)
    return roles


def say(config: RoleSetConfig, done: ByHand) -> None:
    """Print all roles set by hand."""
    rows = [(head, said["role"], said["note"]) for head, said in sorted(done.items())]
    console.table("Roles set by hand", ("head", "role", "note"), rows)
