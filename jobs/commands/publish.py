"""`headatlas publish`: build the database that everyone queries from the files."""

from schemas.config import PublishConfig
from warehouse.database import publish
from warehouse.files.layout import Warehouse

NONE = "none"


def run(config: PublishConfig) -> publish.Published:
    """Publish a new version; readers of older ones are not disturbed.

    Raises:
        UnknownName: a head or role to materialise does not exist.
    """
    warehouse = Warehouse(config.warehouse)
    chosen = [word for word in config.materialize if word != NONE] if config.materialize else None
    return publish.publish(warehouse, materialise=chosen, keep=config.keep)
