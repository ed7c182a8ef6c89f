"""The runs of `headatlas segment` that a warehouse keeps: segmentation/RUN.parquet."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from schemas.results.segmentation_scores import segmentation_scores_schema
from warehouse.files.layout import Warehouse
from warehouse.results.files import check_columns, read_provenance, write_result
from warehouse.store.verify import Problem, result_problems


def run_path(warehouse: Warehouse, run: str) -> Path:
    """Return the file of a run."""
    return warehouse.segmentation / f"{run}.parquet"


def runs(warehouse: Warehouse) -> list[Path]:
    """Return the files of all runs, sorted."""
    return sorted(warehouse.segmentation.glob("*.parquet"))


def write_run(warehouse: Warehouse, run: str, table: pa.Table, provenance: dict[str, Any]) -> None:
    """Write the scores of a run, replacing those of the same options."""
    write_result(run_path(warehouse, run), table, provenance)


def checked(path: Path) -> dict[str, Any]:
    """Return where a run comes from.

    Raises:
        CorruptStore: the file cannot be read, or its columns are not those declared.
    """
    check_columns(path, segmentation_scores_schema(), "segment")
    return read_provenance(path)


def verify_runs(warehouse: Warehouse) -> list[Problem]:
    """Check every run: it can be read whole, and has the columns declared."""
    schema = segmentation_scores_schema()
    return list(result_problems(runs(warehouse), warehouse.root, schema, "segment"))
