"""`headatlas publish`: build the database from the files, as a new version, and link to it.

Results are copied into native tables. `contributions` and `images` are views over exactly the
Parquet files of each scan's newest snapshot, by explicit lists: a shard that is written later is
not seen, and one that is no longer live is kept by `gc` for as long as the version exists.

DuckDB resolves a relative path against the reader's folder, so views carry absolute paths: a
warehouse that has moved is published again. Where it cannot be (a read-only mount elsewhere),
`SET VARIABLE headatlas_root = 'FOLDER'` redirects the views of a connection.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from schemas.errors import StoreError
from schemas.runs import RunRecord
from warehouse.database import versions
from warehouse.database.build import build
from warehouse.database.intact import CHECKED, check_sources
from warehouse.database.inventory import find_results, find_sources
from warehouse.database.notes import write_note
from warehouse.files.layout import Warehouse


@dataclass(frozen=True)
class Published:
    """A published version.

    Attributes:
        path: the database; `atlas.duckdb` links to it.
        version: its number.
        scans: the snapshot that it shows of each scan.
        stale: results that are not current, as `SCAN/KIND/NAME`.
        why: of each of them, the reason.
        materialised: heads stored as native unit vectors, as `SCAN/L22H11`.
        gone: what the version before materialised and no scan has any more, as `role:colour`.
        seconds: time taken.
    """

    path: Path
    version: int
    scans: dict[str, int]
    stale: tuple[str, ...]
    why: dict[str, str]
    materialised: tuple[str, ...]
    gone: tuple[str, ...]
    seconds: float


def publish(
    warehouse: Warehouse,
    *,
    scans: Sequence[str] | None = None,
    materialise: Sequence[str] | None = None,
    keep: int | None = None,
    running: RunRecord | None = None,
) -> Published:
    """Build the next version of the database and link to it.

    Scans that have committed nothing yet are left out. Readers of older versions are not disturbed;
    of these the newest `keep`, this one included, are kept. Concurrent calls wait for each other.

    Args:
        warehouse: what to publish.
        scans: names of the scans to show; all, when None.
        materialise: heads whose centred unit vectors are also stored: `L22H11`, `role:NAME`, `all`.
            None: those of the version before, as far as they are still there.
        keep: versions to keep. None: as many as when the version before was published.
        running: the run that publishes, as it shall be shown; on disk it is unfinished still.

    Raises:
        UnknownName: no such scan, or no such head or role to materialise.
        CorruptStore: a file that is named cannot be read.
        StoreError: the database could not be built.
    """
    started = time.perf_counter()
    warehouse = Warehouse(warehouse.root.resolve())
    with versions.publishing(warehouse):
        sources = find_sources(warehouse, scans)
        shown = {s.scan.name: s.snapshot.number for s in sources}
        before = versions.settings(warehouse)
        chosen = versions.Settings(
            before.materialise if materialise is None else tuple(materialise),
            before.keep if keep is None else keep,
        )
        with versions.reserved(warehouse, shown, chosen) as version:
            checked = check_sources(warehouse, sources)
            results = find_results(warehouse, sources)
            try:
                heads, gone, notes = build(
                    warehouse,
                    version,
                    sources,
                    results,
                    chosen.materialise,
                    carried=materialise is None,
                    running=running,
                )
            except duckdb.Error as error:
                text = " ".join(str(error).split())
                raise StoreError(
                    f"{warehouse.root} could not be published: {text}; run headatlas verify"
                ) from error
            versions.install(warehouse, version)
            for name, note in {CHECKED: checked, **notes}.items():
                write_note(warehouse, name, note)
        versions.prune(warehouse, chosen.keep)
    return Published(
        path=version.database,
        version=version.number,
        scans=shown,
        stale=tuple(r.label for r in results if r.why is not None),
        why={r.label: r.why for r in results if r.why is not None},
        materialised=tuple(head.label for head in heads),
        gone=gone,
        seconds=time.perf_counter() - started,
    )
