"""`headatlas sql`: one question to the published database, read-only."""

import pyarrow as pa

from schemas.config import SqlConfig
from warehouse.database.query import export, query
from warehouse.files.layout import Warehouse


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
