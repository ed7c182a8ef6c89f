"""Measure how well each head retrieves by each attribute of the pictures, and store it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Int
from pydantic import Field

from jobs import console
from pipeline.heads.retrieval import Precision, precision_of
from schemas.config import Config
from schemas.errors import UnknownName, UsageError
from schemas.kinds import Part
from schemas.names import head_name, parse_head
from schemas.results import KINDS
from schemas.results.retrieval_scores import (
    EMBEDDING,
    HEAD,
    RETRIEVAL_SCORES,
    retrieval_scores_schema,
)
from warehouse.files.layout import Warehouse
from warehouse.results.claims import Now
from warehouse.results.files import write_result
from warehouse.store import snapshots
from warehouse.store.columns import LABEL, plain, values_of
from warehouse.store.reading import iterate_layer, matrix, read_images

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
# An attribute with more values than this is a name, not a property.
MOST_VALUES = 200


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
    scan, snapshot = snapshots.open_scan(warehouse, config.scan)
    shards = [live.shard for live in snapshot.shards]
    rows = read_images(scan, shards, ["image_id", "label", "metadata", "embedding"])
    if len(rows) < 3:
        raise UsageError(
            f"scan {scan.name} has {len(rows)} pictures; retrieval needs three or more"
        )
    values = _attributes(rows["label"].to_pylist(), rows["metadata"].to_pylist(), config.attribute)
    rng = np.random.default_rng(SEED)
    count = min(config.queries, len(rows))
    queries = np.sort(rng.choice(len(rows), size=count, replace=False))
    baseline = precision_of(matrix(rows["embedding"]), values, queries, config.k)
    found: list[HeadPrecision] = []
    record = scan.load_record()
    total = len(record.layers) * record.model.n_heads
    with console.progress("Evaluating heads", total, "heads") as advance:
        for layer in record.layers:
            heads = np.concatenate(
                [block.vectors for block in iterate_layer(scan, shards, layer)], axis=1
            )
            for head, vectors in enumerate(heads):
                scores = precision_of(vectors, values, queries, config.k)
                found += [
                    HeadPrecision(head_name(layer, head), name, score)
                    for name, score in scores.items()
                ]
                advance(len(found) // len(values))
    path = scan.results(RETRIEVAL_SCORES) / f"{RETRIEVAL_SCORES}.parquet"
    done = Evaluation(scan.name, config.k, count, baseline, tuple(found), path)
    now = Now(warehouse, scan, record, snapshot)
    options = {"seed": SEED, **config.model_dump(mode="json", exclude={"warehouse", "scan"})}
    claim = now.claim(KINDS[RETRIEVAL_SCORES], {Part.OPTIONS: options})
    write_result(path, _table(done), now.provenance(claim, **options))
    return done


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
    console.table(f"Retrieval in {done.scan}, {done.queries} queries", columns, rows)


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


def _attributes(
    labels: list[str | None], metadata: list[str], wanted: tuple[str, ...]
) -> dict[str, Int[np.ndarray, " image"]]:
    """Return codes by attribute, -1 where a picture has no value."""
    rows = [values_of(text) for text in metadata]
    names = sorted({name for row in rows for name in row})
    columns = {name: [row.get(name) for row in rows] for name in names}
    columns[LABEL] = [None if label is None else plain(label) for label in labels]
    for name in wanted:
        if name not in columns:
            raise UnknownName.among("attribute", name, sorted(columns))
    found = {}
    for name in wanted or sorted(columns):
        texts = columns[name]
        known = sorted({t for t in texts if t is not None})
        if wanted or 2 <= len(known) <= min(MOST_VALUES, len(texts) // 2):
            index = {text: i for i, text in enumerate(known)}
            found[name] = np.array([-1 if t is None else index[t] for t in texts])
    if not found:
        raise UsageError("no attribute with 2 to 200 values; give --attribute, or scan with labels")
    return found
