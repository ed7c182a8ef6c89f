"""Write a pool of the commonest English words: a baseline."""

from datetime import UTC, datetime
from pathlib import Path

from pydantic import Field

from jobs import console
from schemas.config import Config
from schemas.text import how_many
from warehouse.files.layout import Warehouse
from warehouse.store.pools import write_pool

WRITES = True
BEGINS = True


class PoolWordsConfig(Config):
    """Options of `headatlas pool words`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    name: str = Field(default="words", description="Name of the pool.")
    count: int = Field(default=3500, ge=1, description="Words.")


def run(config: PoolWordsConfig) -> int:
    """Write a pool of the commonest English words, the paper's baseline; return how many."""
    from wordfreq import top_n_list

    words = [w for w in top_n_list("en", config.count * 2) if w.isalpha()][: config.count]
    provenance = {"source": "wordfreq, commonest English words", "created_at": _now()}
    nothing: list[str | None] = [None] * len(words)
    write_pool(
        Warehouse(config.warehouse),
        config.name,
        words,
        nothing,
        source="words",
        provenance=provenance,
    )
    return len(words)


def say(config: PoolWordsConfig, done: int) -> None:
    """Say how many words there are."""
    console.note(f"pool {config.name}: {how_many(done, 'word')}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
