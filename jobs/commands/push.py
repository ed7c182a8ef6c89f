"""Copy the published database, and the Parquet that it reads, to object storage.

Only what is missing there is sent: files that never change first, the database last. Any DuckDB
with httpfs reads the copy: ATTACH 's3://bucket/atlas/atlas.duckdb' AS a (READ_ONLY), USE a, and
SET VARIABLE headatlas_root = 's3://bucket/atlas'.
"""

from pathlib import Path

from pydantic import Field

from jobs import console
from schemas.addresses import Address
from schemas.config import Config
from schemas.text import how_many
from warehouse.database import push
from warehouse.files.layout import Warehouse

ARGUMENTS = ("destination",)
WRITES = True


class PushConfig(Config):
    """Options of `headatlas push`."""

    destination: Address = Field(description="URL that fsspec knows, as s3://bucket/atlas.")
    warehouse: Path = Field(description="Folder of the warehouse.")


def run(config: PushConfig) -> push.Pushed:
    """Copy what is published and not there yet.

    Raises:
        UsageError: nothing has been published.
        StoreError: the destination cannot be written.
    """
    return push.push(Warehouse(config.warehouse.absolute()), str(config.destination))


def say(config: PushConfig, done: push.Pushed) -> None:
    """Say what was sent."""
    console.note(
        f"{done.destination}: version {done.version}; sent {how_many(done.files, 'file')}, "
        f"{console.size(done.bytes)}; {done.there:,} were there"
    )
