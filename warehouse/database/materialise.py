"""`publish --materialize`: chosen heads as native tables of centred unit vectors.

A query by head on 1M pictures then needs no Parquet decoding; the macros use them by themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from schemas.errors import UnknownName
from schemas.names import head_name, parse_head
from warehouse.database.sqltext import identifier, load


@dataclass(frozen=True, order=True)
class Head:
    """A stored head of a scan."""

    scan: str
    layer: int
    head: int

    @property
    def label(self) -> str:
        """Its name among all scans, as `SCAN/L22H11`."""
        return f"{self.scan}/{head_name(self.layer, self.head)}"


def chosen_heads(con: duckdb.DuckDBPyConnection, wanted: Sequence[str]) -> list[Head]:
    """Read `L22H11`, `role:colour` or `all`, in every scan of the database being built.

    Raises:
        UsageError: neither of these.
        UnknownName: no scan stores such a head, or no head has such a role.
    """
    stored = [Head(*row) for row in con.execute(load("materialise/heads")).fetchall()]
    found: set[Head] = set()
    for name in wanted:
        if name == "all":
            found.update(stored)
        elif name.startswith("role:"):
            found.update(_of_role(con, name.removeprefix("role:")))
        else:
            place = parse_head(name)
            heads = {h for h in stored if (h.layer, h.head) == place}
            if not heads:
                raise UnknownName.among("head", name, {head_name(h.layer, h.head) for h in stored})
            found |= heads
    return sorted(found)


def missing(con: duckdb.DuckDBPyConnection, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return those of `wanted` of which no scan of the database being built has a head."""
    found = []
    for name in wanted:
        try:
            chosen_heads(con, [name])
        except UnknownName:
            found.append(name)
    return tuple(found)


def _of_role(con: duckdb.DuckDBPyConnection, role: str) -> list[Head]:
    if not con.execute(load("materialise/has_roles")).fetchone():
        raise UnknownName.among("role", role, ())
    known = [r for (r,) in con.execute(load("materialise/roles")).fetchall()]
    if role not in known:
        raise UnknownName.among("role", role, known)
    rows = con.execute(load("materialise/role_heads"), {"role": role}).fetchall()
    return [Head(*row) for row in rows]


def fill(con: duckdb.DuckDBPyConnection, heads: Sequence[Head]) -> None:
    """Store the centred unit vectors of these heads, uncompressed: read in half the time.

    Compression is a setting of the moment of writing, so what was loaded before is written first.
    """
    if not heads:
        return
    con.execute("CHECKPOINT")
    con.execute("PRAGMA force_compression = 'uncompressed'")
    for head in heads:
        view = identifier(f"{head.scan}/L{head.layer}")
        con.execute(
            load(
                "load/unit_vectors",
                scan=head.scan,
                layer=head.layer,
                head=head.head,
                view=view,
            )
        )
    con.execute("CHECKPOINT")
    con.execute("PRAGMA force_compression = 'auto'")
