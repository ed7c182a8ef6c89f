"""What the pictures' own columns explain of each head, streamed layer by layer from the store."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from jobs import console
from jobs.steps.opened import Opened
from pipeline.heads.attributes import GroupSums, encode_columns, explained, group_sums
from pipeline.heads.moments import Key, Moments
from schemas.results import KINDS
from schemas.results.attributes import ATTRIBUTES, attributes_schema
from warehouse.files.layout import ScanDir
from warehouse.results.claims import Now
from warehouse.results.files import write_result
from warehouse.store.columns import LABEL, kind_of, plain, values_of
from warehouse.store.reading import iterate_layer, read_images

Groups = dict[str, tuple[list[str], Int[np.ndarray, " image"]]]


def attributes_path(scan: ScanDir) -> Path:
    """Return the file of the scan's attributes, existing or not."""
    return scan.results(ATTRIBUTES) / f"{ATTRIBUTES}.parquet"


def store_attributes(opened: Opened) -> tuple[str, ...]:
    """Write R² and p-value of every attribute column for every stored head.

    Returns the attributes; nothing is written where the pictures have none.
    """
    scan, record, shards = opened.scan, opened.record, opened.shards
    ids, groups = _groups(scan, shards)
    if not groups:
        return ()
    rows: list[dict[str, Any]] = []
    with console.progress("Attributes", len(record.layers), "layers") as advance:
        for done, layer in enumerate(record.layers, 1):
            rows += _layer_rows(scan, shards, layer, ids, groups, opened.moments)
            advance(done)
    now = Now.opened(opened)
    values_by_name = {name: values for name, (values, _) in groups.items()}
    said = now.provenance(now.claim(KINDS[ATTRIBUTES]), attributes=values_by_name)
    table = pa.Table.from_pylist(rows, schema=attributes_schema())
    write_result(attributes_path(scan), table, said)
    return tuple(sorted(groups))


def _groups(scan: ScanDir, shards: list[str]) -> tuple[Int[np.ndarray, " image"], Groups]:
    """Return all image_ids, ascending, and each attribute's groups in the same order."""
    listed: list[tuple[int, dict[str, str | float]]] = []
    names: set[str] = set()
    for shard in shards:
        rows = read_images(scan, [shard], ["image_id", "label", "metadata"])
        columns = (rows[name].to_pylist() for name in ("image_id", "label", "metadata"))
        for image_id, label, metadata in zip(*columns, strict=True):
            texts = {**values_of(metadata), LABEL: None if label is None else plain(label)}
            values = {k: _number(v) for k, v in texts.items() if v is not None}
            names.update(values)
            listed.append((image_id, values))
    listed.sort(key=lambda item: item[0])
    columns_of = {name: [values.get(name) for _, values in listed] for name in sorted(names)}
    return np.array([image_id for image_id, _ in listed], np.int64), encode_columns(columns_of)


def _number(value: str) -> str | float:
    """Return a value that is a number as one, so that many of them can be cut into quantiles."""
    return float(value) if kind_of([value]) in ("BIGINT", "DOUBLE") else value


def _layer_rows(
    scan: ScanDir,
    shards: list[str],
    layer: int,
    ids: Int[np.ndarray, " image"],
    groups: Groups,
    moments: dict[Key, Moments],
) -> list[dict[str, Any]]:
    sums: dict[str, GroupSums] = {}
    for block in iterate_layer(scan, shards, layer):
        where = np.searchsorted(ids, block.image_id)
        vectors = block.vectors.astype(np.float64)
        for name, (values, codes) in groups.items():
            part = group_sums(vectors, codes[where], len(values))
            sums[name] = sums[name] + part if name in sums else part
    rows = []
    for name, total in sums.items():
        heads = range(len(total.squares))
        covariance = np.stack([moments["head", layer, head].covariance for head in heads])
        found = explained(total, covariance)
        rows += [
            {
                "layer": layer,
                "head": head,
                "attribute": name,
                "r2": float(found.r2[head]),
                "p_value": float(found.p_value[head]),
                "groups": int((total.n > 0).sum()),
                "images": int(total.n.sum()),
            }
            for head in heads
        ]
    return sorted(rows, key=lambda row: (row["head"], row["attribute"]))
