"""Spectral tuning on a scan's stored vectors: what is learned from, and how it is applied."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from jobs.steps.cross_heads import places
from jobs.steps.opened import Opened
from jobs.steps.stratified import stratified
from pipeline.heads.summary import LEAST
from pipeline.heads.tuning import Problem
from schemas.errors import UsageError
from schemas.results import KINDS
from schemas.results.head_tuning import HEAD_TUNING, head_tuning_schema
from warehouse.results.claims import Now
from warehouse.results.classifiers import Classifier, classifier_path
from warehouse.results.files import read_result
from warehouse.store.columns import column, truth
from warehouse.store.reading import matrix, read_head

Head = tuple[int, int]


@dataclass(frozen=True)
class Directions:
    """Principal directions of one head, the largest variance first.

    Attributes:
        vectors: unit length, in the head frame; one a row.
        center: the head's mean along each.
    """

    vectors: Float[np.ndarray, "direction d"]
    center: Float[np.ndarray, " direction"]


def directions(opened: Opened, head: Head) -> Directions:
    """Return the directions along which a head varies by more than rounding."""
    moments = opened.moments["head", head[0], head[1]]
    values, vectors = np.linalg.eigh(moments.covariance)
    kept = np.flatnonzero(values > LEAST * values[-1])[::-1]
    rows = vectors[:, kept].T
    return Directions(rows, rows @ moments.mean)


@dataclass(frozen=True)
class Lesson:
    """What weights are learned from.

    Attributes:
        problem: the pictures drawn, with their classes.
        groups: of each picture, its values of the columns grouped by.
        heads: each head with its directions, in the order of the problem's.
    """

    problem: Problem
    groups: list[tuple[str | None, ...]]
    heads: list[tuple[Head, Directions]]


def lesson(
    opened: Opened,
    classifier: Classifier,
    heads: Sequence[Head],
    columns: Sequence[str],
    count: int,
    seed: int,
) -> Lesson:
    """Read at most `count` pictures that have a class, drawn by class in proportion.

    Raises:
        UsageError: none has.
    """
    images = opened.images(["label", "metadata"])
    own = truth(images, classifier.label_column, classifier.labels)
    labelled = np.flatnonzero(own >= 0)
    if not len(labelled):
        raise UsageError(
            f"no picture of scan {opened.name!r} has a {classifier.label_column} that is a class "
            f"of {classifier.name!r} (as {classifier.labels[0]!r}); scan with labels"
        )
    chosen = labelled[stratified([str(v) for v in own[labelled]], count, seed)]
    some = images.take(pa.array(chosen))
    values = [column(some, name) for name in columns or (classifier.label_column,)]
    # drawn in the order of shards, each of which is read once
    shard, row = (part[chosen] for part in places(opened))
    base = _embeddings(opened, shard, row) @ classifier.weights.T
    found = [(head, directions(opened, head)) for head in heads]
    z = np.empty((len(chosen), sum(len(d.center) for _, d in found)))
    b, start = np.empty((z.shape[1], len(classifier.names))), 0
    for head, own_directions in found:
        stop = start + len(own_directions.center)
        z[:, start:stop] = _read(opened, head, shard, row) @ own_directions.vectors.T
        z[:, start:stop] -= own_directions.center
        frame = opened.frame(*head) @ own_directions.vectors.T
        b[start:stop] = (classifier.weights @ frame).T
        start = stop
    groups = list(zip(*values, strict=True))
    return Lesson(Problem(base, z, b, own[chosen]), groups, found)


def _embeddings(
    opened: Opened, shard: Int[np.ndarray, " picture"], row: Int[np.ndarray, " picture"]
) -> Float[np.ndarray, "picture d_joint"]:
    """Read the embeddings of some pictures."""
    parts = []
    for number in np.unique(shard):
        rows = matrix(opened.images_of(opened.shards[number], ["embedding"])["embedding"])
        parts.append(rows[row[shard == number]])
    return np.concatenate(parts).astype(np.float64)


def _read(
    opened: Opened, head: Head, shard: Int[np.ndarray, " picture"], row: Int[np.ndarray, " picture"]
) -> Float[np.ndarray, "picture d"]:
    """Read one head of some pictures."""
    parts = []
    for number in np.unique(shard):
        _, vectors = read_head(opened.scan, [opened.shards[number]], *head)
        parts.append(vectors[row[shard == number]])
    return np.concatenate(parts).astype(np.float64)


def tuning_table(found: Lesson, delta: Float[np.ndarray, " direction"]) -> pa.Table:
    """Return the learned weights as rows of head_tuning."""
    rows, weights = [], iter((1 + delta).tolist())
    for (layer, head), own in found.heads:
        for number, vector in enumerate(own.vectors):
            rows.append(
                {
                    "layer": layer,
                    "head": head,
                    "direction": number,
                    "weight": next(weights),
                    "center": float(own.center[number]),
                    "vector": vector.astype(np.float32),
                }
            )
    return pa.Table.from_pylist(rows, schema=head_tuning_schema())


@dataclass(frozen=True)
class Tuned:
    """The change that tuning makes to one head's contribution.

    Attributes:
        head: layer and head.
        vectors: directions in the head frame, one a row.
        center: where each direction's coordinate stays.
        added: (weight − 1) of each, along the direction in the joint space.
    """

    head: Head
    vectors: Float[np.ndarray, "direction d"]
    center: Float[np.ndarray, " direction"]
    added: Float[np.ndarray, "direction d_joint"]

    def change(self, vectors: Float[np.ndarray, "image d"]) -> Float[np.ndarray, "image d_joint"]:
        """Return Q V diag(λ − 1) Vᵀ (v − v̄) of pictures, by their stored vectors."""
        along = vectors.astype(np.float64) @ self.vectors.T - self.center
        found: np.ndarray = along @ self.added
        return found


def read_tuning(opened: Opened, name: str) -> tuple[list[Tuned], Path]:
    """Return a scan's tuning for a classifier.

    Raises:
        UsageError: there is none.
        StaleScan: it is of another model or configuration.
    """
    path = classifier_path(opened.scan, name, HEAD_TUNING)
    if not path.is_file():
        raise UsageError(
            f"scan {opened.name!r} has no tuning for classifier {name!r}; make it with headatlas "
            f"tune --classifier {name}"
        )
    Now.opened(opened).require_usable(KINDS[HEAD_TUNING], path)
    return list(_tuned(opened, read_result(path)[0])), path


def _tuned(opened: Opened, table: pa.Table) -> Iterator[Tuned]:
    by_head: dict[Head, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        by_head.setdefault((row["layer"], row["head"]), []).append(row)
    for head, rows in by_head.items():
        vectors = np.array([row["vector"] for row in rows], np.float64)
        delta = np.array([row["weight"] for row in rows]) - 1
        added = delta[:, None] * (vectors @ opened.frame(*head).T)
        yield Tuned(head, vectors, np.array([row["center"] for row in rows]), added)
