"""Zero-shot classifiers and their logits on disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Int

from schemas.errors import UnknownName
from schemas.names import check_name
from schemas.results import KINDS
from schemas.results.classifiers import CLASSIFIERS, classifier_schema
from schemas.results.head_logits import head_logits_schema
from schemas.results.image_logits import image_logits_schema
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.results.claims import Now
from warehouse.results.files import list_results, read_result, write_result
from warehouse.store.reading import matrix


@dataclass(frozen=True)
class Classifier:
    """A zero-shot classifier of a scan.

    Attributes:
        name: its file's.
        names: classes as they stand in a prompt.
        labels: the label that pictures of each class carry.
        weights: unit norm.
        provenance: snapshot, templates, label_column, ...
    """

    name: str
    names: tuple[str, ...]
    labels: tuple[str, ...]
    weights: Float[np.ndarray, "class d_joint"]
    provenance: dict[str, Any]

    @property
    def label_column(self) -> str:
        """Where a picture's true class is: `label`, or a metadata column."""
        return str(self.provenance.get("label_column") or "label")


def classifier_path(scan: ScanDir, name: str, kind: str = CLASSIFIERS) -> Path:
    """Return the file of a classifier, or of its logits, existing or not."""
    return scan.results(kind) / f"{check_name(name, 'classifier')}.parquet"


def write_classifier(
    scan: ScanDir, classifier: Classifier, head_means: Float[np.ndarray, "class head"]
) -> Path:
    """Write a classifier's rows, replacing one of the same name."""
    schema = classifier_schema(classifier.weights.shape[1])
    weights = pa.array(np.ascontiguousarray(classifier.weights, np.float32).reshape(-1))
    columns = [
        pa.array(range(len(classifier.names)), pa.int32()),
        pa.array(classifier.names),
        pa.array(classifier.labels),
        pa.FixedSizeListArray.from_arrays(weights, type=schema.field("weight").type),
        lists(head_means, schema.field("head_means").type),
    ]
    path = classifier_path(scan, classifier.name)
    write_result(path, pa.Table.from_arrays(columns, schema=schema), classifier.provenance)
    return path


def read_classifier(warehouse: Warehouse, scan: ScanDir, name: str) -> Classifier:
    """Read a classifier of a scan.

    Raises:
        UnknownName: the scan has none of that name; the message lists those it has, and says when
            another scan has it.
        StaleScan: it is of another model or configuration.
    """
    path = classifier_path(scan, name)
    if not path.is_file():
        known = [p.stem for p in list_results(scan, CLASSIFIERS)]
        others = [
            other
            for other in warehouse.scans()
            if classifier_path(warehouse.scan(other), name).is_file()
        ]
        error = UnknownName.among(f"classifier of scan {scan.name!r} called", name, known)
        if others:
            raise UnknownName(f"{error}; scan {others[0]!r} has it: give --scan {others[0]}")
        raise UnknownName(f"{error}; headatlas zeroshot makes one")
    Now.of(scan).require_usable(KINDS[CLASSIFIERS], path)
    table, provenance = read_result(path)
    return Classifier(
        name,
        tuple(table["class_name"].to_pylist()),
        tuple(table["label"].to_pylist()),
        matrix(table["weight"]),
        provenance,
    )


def write_image_logits(
    writer: pq.ParquetWriter,
    image_id: Int[np.ndarray, " image"],
    logits: Float[np.ndarray, "image class"],
    truth: Int[np.ndarray, " image"],
) -> None:
    """Append pictures to image_logits; `truth` is the true class, -1 where there is none."""
    table = pa.Table.from_arrays(_common(image_id, logits, truth), schema=image_logits_schema())
    writer.write_table(table)


def write_head_logits(
    writer: pq.ParquetWriter,
    image_id: Int[np.ndarray, " image"],
    logits: Float[np.ndarray, "image class"],
    truth: Int[np.ndarray, " image"],
    heads: Float[np.ndarray, "image class head"],
) -> None:
    """Append pictures to head_logits; the rest is the logit less those of the heads."""
    schema = head_logits_schema()
    flat = np.ascontiguousarray(heads, np.float32).reshape(-1, heads.shape[2])
    rest = logits.reshape(-1) - flat.sum(axis=1, dtype=np.float64)
    columns = [
        *_common(image_id, logits, truth),
        lists(flat, schema.field("heads").type),
        pa.array(rest.astype(np.float32)),
    ]
    writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _common(
    image_id: Int[np.ndarray, " image"],
    logits: Float[np.ndarray, "image class"],
    truth: Int[np.ndarray, " image"],
) -> list[pa.Array]:
    """Return image_id, class, logit and truth, one row per picture and class."""
    images, classes = logits.shape
    number = np.arange(classes, dtype=np.int32)
    own: Bool[np.ndarray, "image class"] = truth[:, None] == number
    unknown = np.repeat(truth < 0, classes)
    return [
        pa.array(np.repeat(image_id, classes)),
        pa.array(np.tile(number, images)),
        pa.array(np.ascontiguousarray(logits, np.float32).reshape(-1)),
        pa.array(own.reshape(-1), mask=unknown),
    ]


def lists(rows: Float[np.ndarray, "row width"], kind: pa.DataType) -> pa.ListArray:
    """Return rows as an Arrow column of lists of float32."""
    offsets = pa.array(np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1])
    values = pa.array(np.ascontiguousarray(rows, np.float32).reshape(-1))
    return pa.ListArray.from_arrays(offsets, values, type=kind)
