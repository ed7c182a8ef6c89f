"""The runs of `headatlas segment` that a warehouse keeps: segmentation/RUN.parquet."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from schemas.results.segmentation_scores import KIND
from warehouse.files.layout import Warehouse
from warehouse.results.files import check_columns, read_provenance, write_result
from warehouse.results.registry import result_path, stored


def runs(warehouse: Warehouse) -> list[Path]:
    """Return the files of all runs, sorted."""
    return [path for kind, path in stored(warehouse) if kind is KIND]


def write_run(warehouse: Warehouse, run: str, table: pa.Table, provenance: dict[str, Any]) -> None:
    """Write the scores of a run, replacing those of the same options."""
    write_result(result_path(warehouse, KIND, run), table, provenance)


def checked(path: Path) -> dict[str, Any]:
    """Return where a run comes from.

    Raises:
        CorruptStore: the file cannot be read, or its columns are not those declared.
    """
    check_columns(path, KIND)
    return read_provenance(path)
