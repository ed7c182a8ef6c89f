"""What a kind of result is declared as: its file's schema, its tables in SQL, and its claim.

One file of `schemas/results/` declares one kind. Whoever makes a result of it states what it stands
on (`warehouse/results/claims.py`); stale, refresh, verify, gc and publish ask nothing else.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import pyarrow as pa

from schemas.relations import Table


class Part(StrEnum):
    """Something that a result stands on. Those of a scan are known by themselves; others are given.

    Attributes:
        WEIGHTS: of the scan's model.
        MODEL: of a scan: weights, preprocessing and precision.
        CONFIGURATION: all that decides the numbers stored of a scan: weights, preprocessing,
            layers, precision, components, head frames.
        PICTURES: which pictures the newest snapshot holds, by their bytes.
        LABELS: what it says of them: labels and metadata.
        POOL: texts and properties of a description pool.
        BASIS: a TextSpan basis of the same scan, by its own claim.
        CLASSIFIER: a zero-shot classifier of the same scan, by its own claim.
        OTHER: another scan: its configuration, and the pictures of its newest snapshot.
        CLASSES: a list of classes.
        CHECKPOINT: a model that is no scan's, by the bytes of its files.
        DATA: pictures that are no scan's, and their masks, by their bytes.
        OPTIONS: what was asked for, as far as it decides a number.
    """

    WEIGHTS = "weights"
    MODEL = "model"
    CONFIGURATION = "configuration"
    PICTURES = "pictures"
    LABELS = "labels"
    POOL = "pool"
    BASIS = "basis"
    CLASSIFIER = "classifier"
    OTHER = "other scan"
    CLASSES = "classes"
    CHECKPOINT = "checkpoint"
    DATA = "data"
    OPTIONS = "options"


KNOWN = frozenset({Part.WEIGHTS, Part.MODEL, Part.CONFIGURATION, Part.PICTURES, Part.LABELS})
"""The parts that a scan and its newest snapshot answer."""


@dataclass(frozen=True)
class Kind:
    """A kind of result.

    Attributes:
        name: its folder below a scan's (or the warehouse's), and `results.kind` in SQL.
        schema: of its file; where a vector's width differs from file to file, any width stands.
        tables: what SQL shows of it. A table is filled from the file by
            `warehouse/sql/load/TABLE.sql` or, where there is no such file, column by column.
        command: of `headatlas`, that makes it.
        stands_on: parts of every claim; those of `KNOWN` need not be given.
        may_stand_on: parts that some results of the kind stand on.
        named: column of the tables that holds the result's name.
        said: columns of the tables that the result's provenance holds, under the same name.
        of: what it belongs to.
        by_hand: whether a person has made it, so that nobody but a person may delete it.
        format: of the file; raise it when what the numbers mean changes.
    """

    name: str
    schema: pa.Schema
    tables: tuple[Table, ...]
    command: str
    stands_on: tuple[Part, ...]
    may_stand_on: tuple[Part, ...] = ()
    named: str | None = None
    said: tuple[str, ...] = ()
    of: Literal["scan", "warehouse"] = "scan"
    by_hand: bool = False
    format: int = 1
