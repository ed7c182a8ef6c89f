"""Spectral tuning on a scan's stored vectors: what is learned from, and how it is applied."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from jobs.steps.cross_heads import Chosen, places
from jobs.steps.labelled import labelled
from jobs.steps.opened import Opened
from pipeline.heads.summary import principal_directions
from pipeline.heads.tuning import Problem
from schemas.errors import UsageError
from schemas.results import KINDS
from schemas.results.head_tuning import HEAD_TUNING, head_tuning_schema
from warehouse.results.claims import Now
from warehouse.results.classifiers import Classifier, classifier_path
from warehouse.results.files import read_result
from warehouse.store.columns import column
from warehouse.store.reading import matrix

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
    _, rows = principal_directions(moments.covariance)
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
        UsageError: none has, or the classifier has fewer than two.
    """
    images = opened.images(["label", "metadata"])
    at, own = labelled(images, opened.name, classifier, count, seed)
    some = images.take(pa.array(at))
    values = [column(some, name) for name in columns or (classifier.label_column,)]
    chosen = Chosen(opened, *(part[at] for part in places(opened)))
    found = [(head, directions(opened, head)) for head in heads]
    z = np.empty((len(at), sum(len(d.center) for _, d in found)))
    b, start = np.empty((z.shape[1], len(classifier.names))), 0
    for layer, of_layer in groupby(found, key=lambda one: one[0][0]):
        vectors = chosen.read(layer)
        for head, own_directions in of_layer:
            stop = start + len(own_directions.center)
            along = vectors[head[1]].astype(np.float64) @ own_directions.vectors.T
            z[:, start:stop] = along - own_directions.center
            frame = opened.frame(*head) @ own_directions.vectors.T
            b[start:stop] = (classifier.weights @ frame).T
            start = stop
    base = _embeddings(chosen) @ classifier.weights.T
    return Lesson(Problem(base, z, b, own), list(zip(*values, strict=True)), found)


def _embeddings(chosen: Chosen) -> Float[np.ndarray, "picture d_joint"]:
    """Read the pictures' embeddings, in their order: that of the shards."""
    opened, parts = chosen.opened, []
    for number in np.unique(chosen.shard):
        rows = matrix(opened.images_of(opened.shards[number], ["embedding"])["embedding"])
        parts.append(rows[chosen.row[chosen.shard == number]])
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


def read_tuning(opened: Opened, name: str) -> list[Tuned]:
    """Return a scan's tuning for a classifier, head by head.

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
    return list(_tuned(opened, read_result(path)[0]))


def _tuned(opened: Opened, table: pa.Table) -> Iterator[Tuned]:
    by_head: dict[Head, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        by_head.setdefault((row["layer"], row["head"]), []).append(row)
    for head, rows in by_head.items():
        vectors = np.array([row["vector"] for row in rows], np.float64)
        delta = np.array([row["weight"] for row in rows]) - 1
        added = delta[:, None] * (vectors @ opened.frame(*head).T)
        yield Tuned(head, vectors, np.array([row["center"] for row in rows]), added)
