"""`headatlas pool`: description pools, listed and imported."""

from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.texts.pool import GENERAL, clean, read_descriptions
from schemas.config import PoolImportConfig, PoolListConfig
from schemas.errors import UsageError
from schemas.names import safe_name
from warehouse.files.layout import Warehouse
from warehouse.store.pools import Pool, pools, read_pool, write_pool

SHIPPED = {"general": GENERAL}


@dataclass(frozen=True)
class Imported:
    """What an import kept, and what it left out."""

    pool: str
    kept: int
    properties: int
    empty: int
    duplicates: int


def listed(config: PoolListConfig) -> list[Pool]:
    """Return all pools of a warehouse."""
    warehouse = Warehouse(config.warehouse)
    return [read_pool(warehouse, name) for name in pools(warehouse)]


def run_import(config: PoolImportConfig) -> Imported:
    """Import a file as a pool, replacing one of the same name.

    Raises:
        UsageError: the file is not there or holds no description.
    """
    path = SHIPPED.get(str(config.file), config.file)
    cleaned = clean(read_descriptions(path))
    if not cleaned.descriptions:
        raise UsageError(f"{path} holds no description; expected one per line")
    name = config.name or safe_name(path.stem)
    properties = [d.property or config.property for d in cleaned.descriptions]
    write_pool(
        Warehouse(config.warehouse),
        name,
        [d.text for d in cleaned.descriptions],
        properties,
        source=path.name,
        provenance={
            "source": path.name,
            "imported_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "empty": cleaned.empty,
            "duplicates": cleaned.duplicates,
        },
    )
    kinds = {p for p in properties if p is not None}
    return Imported(name, len(properties), len(kinds), cleaned.empty, cleaned.duplicates)
