"""Measure how well each head retrieves by each attribute of the pictures, and store it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float32
from pydantic import Field

from jobs import console
from jobs.steps.codes import read_codes
from pipeline.heads.ranking import Precision, precision_of, precision_streamed
from schemas.config import Config
from schemas.errors import UsageError
from schemas.kinds import Part
from schemas.names import head_name, parse_head
from schemas.results import KINDS
from schemas.results.retrieval_scores import (
    EMBEDDING,
    HEAD,
    RETRIEVAL_SCORES,
    retrieval_scores_schema,
)
from schemas.text import how_many
from warehouse.files.layout import Warehouse
from warehouse.results.claims import Now
from warehouse.results.files import write_result
from warehouse.store.opened import OpenedScan, open_snapshot
from warehouse.store.reading import matrix, read_head, stored_heads

PUBLISHES = True


class EvaluateConfig(Config):
    """Options of `headatlas evaluate`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
    attribute: tuple[str, ...] = Field(
        default=(), description="Metadata column, or label; default, all with few values."
    )
    k: int = Field(default=10, ge=1, description="Neighbours of precision@k.")
    queries: int = Field(default=500, ge=1, description="Pictures to ask with, drawn at random.")


SEED = 0


@dataclass(frozen=True)
class HeadPrecision:
    """One head's scores for one attribute."""

    head: str
    attribute: str
    score: Precision


@dataclass(frozen=True)
class Evaluation:
    """Retrieval by each head and by the whole embedding.

    Attributes:
        embedding: the baseline, by attribute.
        heads: all heads and attributes.
        path: where they are stored.
    """

    scan: str
    k: int
    queries: int
    embedding: dict[str, Precision]
    heads: tuple[HeadPrecision, ...]
    path: Path

    def best(self) -> list[HeadPrecision]:
        """Return the head with the highest precision for each attribute."""
        found: dict[str, HeadPrecision] = {}
        for row in self.heads:
            if (
                row.attribute not in found
                or row.score.precision > found[row.attribute].score.precision
            ):
                found[row.attribute] = row
        return [found[name] for name in sorted(found)]


def run(config: EvaluateConfig) -> Evaluation:
    """Ask with a sample of pictures, by every stored head, score against the attributes, store.

    Attributes are the label (as `label`) and the metadata columns with 2 to 200 values.

    Raises:
        UsageError: there is no such column.
    """
    warehouse = Warehouse(config.warehouse)
    opened = open_snapshot(warehouse, config.scan)
    scan, n = opened.scan, opened.snapshot.images
    if n < 3:
        raise UsageError(
            f"scan {scan.name} has {how_many(n, 'picture')}; retrieval needs three or more"
        )
    values = read_codes(opened, config.attribute)
    rng = np.random.default_rng(SEED)
    count = min(config.queries, n)
    console.note(f"retrieval for {how_many(count, 'picture')} of scan {scan.name}")
    queries = np.sort(rng.choice(n, size=count, replace=False))
    baseline = precision_streamed(partial(_embeddings, opened), values, queries, config.k)
    found: list[HeadPrecision] = []
    heads = [(layer, head) for layer in opened.record.layers for head in _heads(opened, layer)]
    with console.progress("Evaluating heads", len(heads), "heads") as advance:
        for done, head in enumerate(heads, 1):
            scores = precision_of(_vectors(opened, *head), values, queries, config.k)
            found += [
                HeadPrecision(head_name(*head), name, score) for name, score in scores.items()
            ]
            advance(done)
    path = scan.results(RETRIEVAL_SCORES) / f"{RETRIEVAL_SCORES}.parquet"
    evaluated = Evaluation(scan.name, config.k, count, baseline, tuple(found), path)
    now = Now(warehouse, scan, opened.record, opened.snapshot)
    options = {"seed": SEED, **config.model_dump(mode="json", exclude={"warehouse", "scan"})}
    claim = now.claim(KINDS[RETRIEVAL_SCORES], {Part.OPTIONS: options})
    write_result(path, _table(evaluated), now.provenance(claim, **options))
    return evaluated


def _embeddings(opened: OpenedScan) -> Iterator[Float32[np.ndarray, "image d_joint"]]:
    for shard in opened.shards:
        yield matrix(opened.images_of(shard, ["embedding"])["embedding"])


def _heads(opened: OpenedScan, layer: int) -> range:
    """Return the heads that are stored of a layer, by the first shard."""
    return range(stored_heads(opened.scan, opened.shards[0], layer))


def _vectors(opened: OpenedScan, layer: int, head: int) -> Float32[np.ndarray, "image _"]:
    """Read one head of all pictures, held once, in float32."""
    found, start = np.empty((0, 0), np.float32), 0
    for shard in opened.shards:
        _, rows = read_head(opened.scan, [shard], layer, head)
        if not start:
            found = np.empty((opened.snapshot.images, rows.shape[1]), np.float32)
        found[start : start + len(rows)] = rows
        start += len(rows)
    return found


def say(config: EvaluateConfig, done: Evaluation) -> None:
    """Print the best head for each attribute."""
    rows = [
        (
            row.attribute,
            row.head,
            row.score.precision,
            row.score.average_precision,
            done.embedding[row.attribute].precision,
            done.embedding[row.attribute].average_precision,
            row.score.chance,
        )
        for row in done.best()
    ]
    columns = (
        "attribute",
        "best head",
        f"precision@{done.k}",
        "mAP",
        "embedding",
        "its mAP",
        "chance",
    )
    console.table(f"Retrieval in {done.scan}, {how_many(done.queries, 'query')}", columns, rows)


def _table(done: Evaluation) -> pa.Table:
    rows: list[tuple[str, int | None, int | None, str, Precision]] = [
        (EMBEDDING, None, None, name, score) for name, score in done.embedding.items()
    ]
    rows += [(HEAD, *parse_head(row.head), row.attribute, row.score) for row in done.heads]
    return pa.Table.from_pylist(
        [
            {
                "attribute": attribute,
                "component": component,
                "layer": layer,
                "head": head,
                "k": done.k,
                "precision_at_k": score.precision,
                "mean_average_precision": score.average_precision,
                "chance": score.chance,
                "queries": done.queries,
            }
            for component, layer, head, attribute, score in rows
        ],
        schema=retrieval_scores_schema(),
    )
