"""Import a file of descriptions as a pool; `general` is the pool that ships."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import Field

from jobs import console
from pipeline.texts.pool import GENERAL, clean, read_descriptions
from schemas.config import Config
from schemas.errors import UsageError
from schemas.names import safe_name
from schemas.text import how_many
from warehouse.files.layout import Warehouse
from warehouse.store.pools import write_pool

ARGUMENTS = ("file",)
WRITES = True
BEGINS = True


class PoolImportConfig(Config):
    """Options of `headatlas pool import`."""

    file: Path = Field(
        description="Text file with one description per line, CSV with text and property, or "
        "`general` for the pool that ships."
    )
    warehouse: Path = Field(description="Folder of the warehouse.")
    name: str | None = Field(default=None, description="Name of the pool; default, the file's.")
    property: str | None = Field(
        default=None, description="Property of all descriptions that have none of their own."
    )


SHIPPED = {"general": GENERAL}


@dataclass(frozen=True)
class Imported:
    """What an import kept, and what it left out."""

    pool: str
    kept: int
    properties: int
    empty: int
    duplicates: int


def run(config: PoolImportConfig) -> Imported:
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


def say(config: PoolImportConfig, done: Imported) -> None:
    """Say what was kept, and what was left out."""
    left = f"; left out {done.empty} empty and {done.duplicates} repeated lines"
    console.note(
        f"pool {done.pool}: {how_many(done.kept, 'description')} in "
        f"{how_many(done.properties, 'property')}" + (left if done.empty or done.duplicates else "")
    )
