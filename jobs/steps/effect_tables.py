"""The tables of `headatlas effects`, from the files of its chunks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from jobs.steps.chunks import left_out, require_used
from pipeline.heads.effect_sums import EffectSums
from schemas.names import head_name
from schemas.results.head_effects import HEAD_EFFECTS, head_effects_schema
from schemas.results.image_head_effects import IMAGE_HEAD_EFFECTS, image_head_effects_schema
from warehouse.results.files import read_result, stream_result, write_result


@dataclass(frozen=True)
class Asked:
    """What is measured, of which pictures.

    Attributes:
        images: rows of all pictures of the scan.
        chosen: places of those that are measured, and `checked` of those measured by both methods.
        heads: by layer, ascending.
        targets: names of the directions.
    """

    images: pa.Table
    chosen: Int64[np.ndarray, " image"]
    checked: Int64[np.ndarray, " image"]
    heads: dict[int, list[int]]
    targets: tuple[str, ...]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Each head as (layer, head), ascending."""
        return [(layer, head) for layer, some in self.heads.items() for head in some]


def write_tables(
    asked: Asked,
    files: Sequence[Path],
    without: Sequence[tuple[str, str]],
    paths: dict[str, Path],
    provenances: dict[str, Any],
) -> None:
    """Write both tables from the chunks."""
    shape = (len(asked.pairs), len(asked.targets))
    sums, rejects = EffectSums(), list(without)
    schema = image_head_effects_schema()
    path = paths[IMAGE_HEAD_EFFECTS]
    with stream_result(path, schema, provenances[IMAGE_HEAD_EFFECTS]()) as writer:
        for file in files:
            part, provenance = read_result(file)
            rejects += left_out(provenance)
            for row in part.filter(pa.compute.is_null(part["image_id"])).to_pylist():
                sums.merge(EffectSums({row["what"]: np.array(row["sums"]).reshape(shape)}))
            for table in _image_rows(asked, part):
                writer.write_table(table.cast(writer.schema))
    require_used(bool(sums.sums), len(asked.chosen), rejects)
    layers = [layer for layer, _ in asked.pairs]
    by_layer = {n: sums.correlation_of([i for i, m in enumerate(layers) if m == n]) for n in layers}
    known = {n: r for n, r in by_layer.items() if np.isfinite(r)}
    more = {"rejects": sorted(set(rejects)), "atp_r": known}
    table = _head_rows(asked, sums)
    write_result(paths[HEAD_EFFECTS], table, provenances[HEAD_EFFECTS](**more))


def _image_rows(asked: Asked, part: pa.Table) -> "list[pa.Table]":
    """Return a chunk's pictures as rows of image_head_effects, a table for each picture."""
    by_image: dict[int, dict[str, np.ndarray]] = {}
    rows = part.filter(pa.compute.is_valid(part["image_id"]))
    for row in rows.to_pylist():
        by_image.setdefault(row["image_id"], {})[row["what"]] = np.array(row["values"], np.float32)
    head_columns = _heads_and_targets(asked)
    n = len(asked.pairs) * len(asked.targets)
    return [
        pa.table(
            {
                "image_id": np.full(n, number),
                **head_columns,
                "direct": found["direct"],
                "total": found["total"],
                "atp": found["atp"] if "atp" in found else pa.nulls(n, pa.float32()),
            },
            schema=image_head_effects_schema(),
        )
        for number, found in sorted(by_image.items())
    ]


def _heads_and_targets(asked: Asked) -> dict[str, Any]:
    """Return target, layer and head of each number, in the order of [head, target]."""
    pairs = np.repeat(np.array(asked.pairs, np.int16).reshape(-1, 2), len(asked.targets), axis=0)
    targets = list(asked.targets) * len(asked.pairs)
    return {"target": targets, "layer": pairs[:, 0], "head": pairs[:, 1]}


def _head_rows(asked: Asked, sums: EffectSums) -> pa.Table:
    """Return rows of head_effects."""
    columns = _heads_and_targets(asked)
    names = zip(columns["layer"].tolist(), columns["head"].tolist(), strict=True)
    columns["name"] = [head_name(layer, head) for layer, head in names]
    for name in ("n", "n_total", "n_atp"):
        columns[name] = sums.of(name).reshape(-1).astype(np.int64)
    for name, values in sums.means().items():
        flat = values.reshape(-1)
        columns[name] = pa.array(flat, mask=~np.isfinite(flat))
    return pa.table(
        {name: columns[name] for name in head_effects_schema().names},
        schema=head_effects_schema(),
    )
