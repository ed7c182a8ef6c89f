"""Parquet listings: a path column and no image bytes."""

from collections.abc import Sequence

from pipeline.sources.parquet_columns import image_column, plain_columns, rows, schema_of
from pipeline.sources.paths import PARQUET_SUFFIXES, Found
from pipeline.sources.request import Request
from pipeline.sources.table import Rows, Table


class ParquetListing(Table):
    """Parquet files whose rows name pictures."""

    name = "Parquet listing"
    expected = "a .parquet listing"
    suffixes = PARQUET_SUFFIXES
    only_named = False

    def claims(self, files: Sequence[Found], request: Request) -> list[Found]:
        """Take Parquet files if the first whole one has no column of image bytes."""
        return list(files) if image_column(files, request.path_column) is None else []

    def rows(self, file: Found) -> Rows:
        """Open a listing.

        Raises:
            DamagedFile: it is not Parquet.
        """
        return Rows(tuple(plain_columns(schema_of(file))), lambda text: rows(file))


FORMAT = ParquetListing()
