"""List the description pools."""

from pathlib import Path

from pydantic import Field

from jobs import console
from schemas.config import Config
from warehouse.files.layout import Warehouse
from warehouse.store.pools import Pool, pools, read_pool


class PoolListConfig(Config):
    """Options of `headatlas pool list`."""

    warehouse: Path = Field(description="Folder of the warehouse.")


def run(config: PoolListConfig) -> list[Pool]:
    """Return all pools of a warehouse."""
    warehouse = Warehouse(config.warehouse)
    return [read_pool(warehouse, name) for name in pools(warehouse)]


def say(config: PoolListConfig, done: list[Pool]) -> None:
    """Print the pools."""
    rows = [
        (p.name, len(p.texts), len({x for x in p.properties if x}), p.provenance.get("source"))
        for p in done
    ]
    console.table("Description pools", ("pool", "descriptions", "properties", "source"), rows)
