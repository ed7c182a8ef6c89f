"""`headatlas publish`: build the database that everyone queries from the files."""

from pathlib import Path

from pydantic import Field

from schemas.config import Config
from warehouse import publish
from warehouse.layout import Warehouse


class PublishConfig(Config):
    """Options of `headatlas publish`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    materialize: tuple[str, ...] = Field(
        default=(),
        description="Heads also stored as native, centred unit vectors: L22H11, role:colour, all.",
    )
    keep: int = Field(default=3, ge=1, description="Published versions to keep.")


def run(config: PublishConfig) -> publish.Published:
    """Publish a new version; readers of older ones are not disturbed.

    Raises:
        UnknownName: a head or role to materialise does not exist.
    """
    warehouse = Warehouse(config.warehouse)
    return publish.publish(warehouse, materialise=config.materialize, keep=config.keep)
