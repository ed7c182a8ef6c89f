"""Write a pool of random directions for one scan's model: a baseline."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from jobs import console
from pipeline.texts.pool_build import (
    random_directions,
)
from schemas.config import Config
from warehouse.files.layout import Warehouse
from warehouse.store import snapshots
from warehouse.store.pools import EmbeddedBy, write_embeddings, write_pool

WRITES = True


class PoolRandomConfig(Config):
    """Options of `headatlas pool random`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    name: str = Field(default="random", description="Name of the pool.")
    count: int = Field(default=3500, ge=1, description="Directions.")
    seed: int = Field(default=0, description="Of the directions.")
    scan: str | None = Field(default=None, description="Scan whose joint space they lie in.")


def run(config: PoolRandomConfig) -> int:
    """Write a pool of random unit vectors, for the model of one scan; return how many."""
    warehouse = Warehouse(config.warehouse)
    scan, _ = snapshots.open_scan(warehouse, config.scan)
    record = scan.load_record()
    texts = [f"random direction {i}" for i in range(config.count)]
    nothing: list[str | None] = [None] * len(texts)
    provenance: dict[str, Any] = {
        "source": "random directions",
        "seed": config.seed,
        "weights_sha256": record.model.weights_sha256,
        "created_at": _now(),
    }
    write_pool(warehouse, config.name, texts, nothing, source="random", provenance=provenance)
    vectors = random_directions(config.count, record.model.d_joint, config.seed)
    by = EmbeddedBy(record.model.weights_sha256, record.precision)
    write_embeddings(warehouse, config.name, by, np.asarray(vectors))
    return len(texts)


def say(config: PoolRandomConfig, done: int) -> None:
    """Say how many directions there are."""
    console.note(f"pool {config.name}: {done:,} random directions")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
