"""A panel's or a statement's whole answer as a file: CSV or Parquet."""

import io
from typing import Final

from starlette.responses import Response

from jobs.explore.database import Database
from schemas.errors import UnknownName

MEDIA: Final = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}


def download(database: Database, statement: str, kind: str) -> Response:
    """Return the answer to a statement as a file.

    Raises:
        UnknownName: no such kind of file.
        UsageError: the statement is not one that reads, or is wrong.
    """
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    if kind not in MEDIA:
        raise UnknownName.among("kind of file", kind, MEDIA)
    with database.cursor() as cursor:
        table = cursor.table(statement)
    if kind == "csv":
        flat = [i for i, f in enumerate(table.schema) if hasattr(f.type, "value_type")]
        for index in flat:
            texts = [None if v is None else str(v) for v in table.column(index).to_pylist()]
            table = table.set_column(index, table.schema.names[index], [texts])
    stream = io.BytesIO()
    (pc.write_csv if kind == "csv" else pq.write_table)(table, stream)
    return Response(
        stream.getvalue(),
        media_type=MEDIA[kind],
        headers={"Content-Disposition": f'attachment; filename="answer.{kind}"'},
    )
