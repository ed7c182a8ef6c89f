"""`headatlas sql`: one question to the published database, read-only."""

from pathlib import Path

import pyarrow as pa
from pydantic import Field

from schemas.config import Config
from warehouse.layout import Warehouse
from warehouse.query import export, query


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
