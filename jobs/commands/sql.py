"""Ask the published database, read-only; or write the answer to a file."""

from pathlib import Path

import pyarrow as pa
from pydantic import Field

from jobs import console
from schemas.config import Config
from warehouse.database.query import export, query
from warehouse.files.layout import Warehouse

ARGUMENTS = ("statement",)


class SqlConfig(Config):
    """Options of `headatlas sql`."""

    statement: str = Field(description="SQL to run.")
    warehouse: Path = Field(description="Folder of the warehouse.")
    output: Path | None = Field(
        default=None, description="Write the answer to this file: .parquet, .csv or .arrow."
    )


def run(config: SqlConfig) -> pa.Table | None:
    """Return the answer, or write it to a file and return None.

    Raises:
        UsageError: the SQL is wrong, the database is not published, or the suffix is unknown.
    """
    warehouse = Warehouse(config.warehouse)
    if config.output is not None:
        export(warehouse, config.statement, config.output)
        return None
    return query(warehouse, config.statement)


def say(config: SqlConfig, done: pa.Table | None) -> None:
    """Print the answer."""
    if done is not None:
        console.show("", done)
