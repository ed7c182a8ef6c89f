"""Where the results of every kind lie, of a scan and of the warehouse."""

from collections.abc import Iterator
from pathlib import Path

from schemas.kinds import Kind
from schemas.names import check_name
from schemas.results import KINDS
from warehouse.files.atomic import is_temporary
from warehouse.files.layout import ScanDir, Warehouse


def result_path(place: ScanDir | Warehouse, kind: Kind, name: str) -> Path:
    """Return the file of a result, existing or not.

    Raises:
        UsageError: the name cannot serve as a file's.
    """
    return _folder(place, kind) / f"{check_name(name, kind.name)}.parquet"


def stored(place: ScanDir | Warehouse) -> Iterator[tuple[Kind, Path]]:
    """Yield the results of a scan, or those of the warehouse that are of no scan, in order."""
    of = "scan" if isinstance(place, ScanDir) else "warehouse"
    for kind in KINDS.values():
        if kind.of == of:
            for path in sorted(_folder(place, kind).rglob("*.parquet")):
                if not is_temporary(path.name):
                    yield kind, path


def _folder(place: ScanDir | Warehouse, kind: Kind) -> Path:
    root = place.path if isinstance(place, ScanDir) else place.root
    return root / kind.name
