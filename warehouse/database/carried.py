"""What a version says of pictures is taken over from the one before, where no shard has changed.

A shard never changes, so neither do the rows that are made of it. Which shards, by the digests of
their manifests, a version's rows were made of, and by which statements, is noted once the version
is in place. Where the note is of another version or of other statements, all is read from files.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import duckdb

from warehouse.database import versions
from warehouse.database.inventory import Source
from warehouse.database.notes import Note, read_note
from warehouse.database.sqltext import render, template
from warehouse.files.layout import Warehouse

ROWS: Final = "rows"
# What rows are made by.
_STATEMENTS: Final = (
    "load/image_index",
    "metadata/load",
    "metadata/value",
    *(
        f"macros/{name}"
        for name in ("metadata_value", "plain_number", "plain_value", "written_out")
    ),
)


@dataclass(frozen=True)
class Carried:
    """What can be taken over, from the database attached as `before`.

    Attributes:
        shards: of each scan, by name the digests of the manifests of those that are there.
    """

    shards: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def of(self, source: Source) -> tuple[list[str], list[str]]:
        """Return a scan's shards: those whose rows can be taken over, and the others."""
        there = self.shards.get(source.scan.name, {})
        same = {s.shard for s in source.snapshot.shards if there.get(s.shard) == s.manifest_sha256}
        kept = [shard for shard in source.shards if shard in same]
        return kept, [shard for shard in source.shards if shard not in same]


@contextmanager
def version_before(con: duckdb.DuckDBPyConnection, warehouse: Warehouse) -> Iterator[Carried]:
    """Attach the newest version as `before`, and say what can be taken over from it."""
    note, finished = read_note(warehouse, ROWS), versions.existing(warehouse)
    if not finished or note.get("of") != [finished[-1].number, _statements()]:
        yield Carried()
        return
    with contextlib.suppress(duckdb.Error):
        path = str(finished[-1].database)
        con.execute(render("ATTACH :path AS before (READ_ONLY)", path=path))
    there = con.execute("SELECT count(*) FROM duckdb_databases() WHERE database_name = 'before'")
    attached = there.fetchone() == (1,)
    yield Carried(note["shards"]) if attached else Carried()
    if attached:
        con.execute("DETACH before")


def noted_rows(version: versions.Version, sources: Sequence[Source]) -> Note:
    """Return what is to be noted as `ROWS` once the version is in place: what its rows are of."""
    shards = {
        source.scan.name: {s.shard: s.manifest_sha256 for s in source.snapshot.shards if s.rows}
        for source in sources
    }
    return {"of": [version.number, _statements()], "shards": shards}


def _statements() -> str:
    return hashlib.sha256("\0".join(map(template, _STATEMENTS)).encode()).hexdigest()
