"""Measure how much of every head the texts of each property explain, against its layer's others."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from jobs import console
from jobs.steps.models import pool_embeddings
from jobs.steps.opened import Opened, open_scan
from jobs.steps.templates import templates_of
from pipeline.heads.concepts import ConceptShares, concept_shares, layer_others
from schemas.config import Config
from schemas.errors import UsageError
from schemas.kinds import Part
from schemas.names import head_name
from schemas.results import KINDS
from schemas.results.concept_shares import CONCEPT_SHARES, concept_shares_schema
from schemas.text import how_many
from warehouse.files.layout import Warehouse
from warehouse.results.claims import Now
from warehouse.results.files import read_result, write_result
from warehouse.results.registry import result_path
from warehouse.store.pools import Pool, read_pool

PUBLISHES = True


class ConceptsConfig(Config):
    """Options of `headatlas concepts`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    pool: str = Field(description="Description pool whose texts have properties.")
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
    m: int = Field(default=10, ge=1, description="Texts per head and property, at most.")
    template: tuple[str, ...] = Field(
        default=(), description="Prompt of a text, as headatlas textspan takes it."
    )
    model: str | None = Field(default=None, description="Model, when its files have moved.")
    pretrained: str | None = Field(default=None, description="Weights, when they have moved.")


@dataclass(frozen=True)
class ConceptsResult:
    """What was measured.

    Attributes:
        best: of each property, the head with the largest share beyond its layer's others: its
            name, its share, theirs.
        reused: whether the same was there already.
    """

    scan: str
    pool: str
    heads: int
    best: dict[str, tuple[str, float, float | None]]
    path: Path
    reused: bool
    seconds: float


def run(config: ConceptsConfig) -> ConceptsResult:
    """Explain each head by the texts of one property at a time; nothing where it is there already.

    Raises:
        UnknownName: no such scan or pool.
        UsageError: no text of the pool has a property, or a template has no `{}`.
    """
    started = time.perf_counter()
    warehouse = Warehouse(config.warehouse)
    pool, templates = read_pool(warehouse, config.pool), templates_of(config.template)
    about = _about(pool)
    opened = open_scan(warehouse, config.scan)
    now = Now.opened(opened)
    options = {"m": config.m, "templates": list(templates)}
    claim = now.claim(KINDS[CONCEPT_SHARES], {Part.POOL: config.pool, Part.OPTIONS: options})
    path = result_path(opened.scan, KINDS[CONCEPT_SHARES], config.pool)
    reused = now.why_not(path, claim) is None
    if not reused:
        texts = pool_embeddings(
            warehouse, pool, opened.record, config.model, config.pretrained, templates
        )
        found = concept_shares(
            [opened.covariance(*head) for head in opened.framed],
            [opened.frame(*head) for head in opened.framed],
            texts,
            about,
            config.m,
        )
        write_result(path, _table(opened, found), now.provenance(claim))
    rows = read_result(path)[0].to_pylist()
    return ConceptsResult(
        scan=opened.name,
        pool=config.pool,
        heads=len({(row["layer"], row["head"]) for row in rows}),
        best=_best(rows),
        path=path,
        reused=reused,
        seconds=time.perf_counter() - started,
    )


def _about(pool: Pool) -> dict[str, list[int]]:
    """Return by property the places of its texts."""
    found: dict[str, list[int]] = {}
    for at, name in enumerate(pool.properties):
        if name is not None:
            found.setdefault(name, []).append(at)
    if not found:
        raise UsageError(
            f"pool {pool.name!r}: none of {len(pool.texts):,} texts has a property; expected a "
            "pool with a column `property`, as `general` has"
        )
    return found


def _table(opened: Opened, found: ConceptShares) -> pa.Table:
    others = layer_others(found.share, [layer for layer, _ in opened.framed])
    rows = [
        {
            "layer": layer,
            "head": head,
            "property": name,
            "texts": int(found.texts[column]),
            "share": float(found.share[i, column]),
            "others": None if np.isnan(others[i, column]) else float(others[i, column]),
            "ceiling": float(found.ceiling[i, column]),
        }
        for i, (layer, head) in enumerate(opened.framed)
        for column, name in enumerate(found.properties)
    ]
    return pa.Table.from_pylist(rows, schema=concept_shares_schema())


def _best(rows: list[dict[str, Any]]) -> dict[str, tuple[str, float, float | None]]:
    def beyond(row: dict[str, Any]) -> float:
        return float(row["share"] - (row["others"] or 0.0))

    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        name = row["property"]
        if name not in found or beyond(row) > beyond(found[name]):
            found[name] = row
    return {
        name: (head_name(row["layer"], row["head"]), row["share"], row["others"])
        for name, row in sorted(found.items())
    }


def say(config: ConceptsConfig, done: ConceptsResult) -> None:
    """Print each property's best head."""
    rows = [(name, *values) for name, values in done.best.items()]
    console.table("Best head of each property", ("property", "head", "share", "others"), rows)
    ended = "there already" if done.reused else f"in {done.seconds:.1f} s"
    console.note(
        f"{how_many(len(rows), 'property')} of pool {done.pool} in "
        f"{how_many(done.heads, 'head')}, {ended}"
    )
