"""`headatlas publish`: build the database that everyone queries from the files."""

from schemas.config import PublishConfig
from warehouse import publish
from warehouse.layout import Warehouse


def run(config: PublishConfig) -> publish.Published:
    """Publish a new version; readers of older ones are not disturbed.

    Raises:
        UnknownName: a head or role to materialise does not exist.
    """
    warehouse = Warehouse(config.warehouse)
    return publish.publish(warehouse, materialise=config.materialize, keep=config.keep)
