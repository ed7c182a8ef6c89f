"""Statistics of maps, added up over pictures: sums by label, mergeable over shards and workers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from pipeline.maps.statistics import HeadMapStatistics
from schemas.names import head_name
from schemas.results.head_map_statistics import head_map_statistics_schema

# The group of all pictures.
EVERY: Final = None
MEANS: Final = ("total", "total_squared", "magnitude", "focus", "effective_tokens")
ON_MASK: Final = ("on_mask", "positive_in")
SUMS: Final = (*MEANS, *ON_MASK)


@dataclass
class Sums:
    """Sums over the pictures of one group.

    Attributes:
        pictures: counted.
        area: sum of the regions' areas.
        values: of each of `SUMS`, for every head and text.
    """

    pictures: int
    area: float
    values: Float[np.ndarray, "sum cell"]

    def merge(self, other: "Sums") -> "Sums":
        """Return the sums over the pictures of both."""
        return Sums(
            self.pictures + other.pictures, self.area + other.area, self.values + other.values
        )


@dataclass
class Pooled:
    """Sums by group: all pictures, and those of each label.

    Attributes:
        groups: by label; the group of all pictures is `EVERY`.
        tokens: image tokens of a picture; 0 before the first.
    """

    groups: dict[str | None, Sums] = field(default_factory=dict)
    tokens: int = 0

    def add(self, found: HeadMapStatistics, groups: Sequence[Mapping[str | None, int]]) -> None:
        """Add a batch.

        Args:
            found: its statistics.
            groups: for each picture, the groups that it counts in, and which region is the mask
                of each; ignored where there are no regions.
        """
        self.tokens = found.tokens
        means = (
            *(found.total, found.total.square(), found.magnitude, found.focus),
            found.effective_tokens,
        )
        plain = _numbers(torch.stack(means, dim=1))
        masks = found.area.shape[1] > 0
        on = _numbers(torch.stack((found.on_mask, found.positive_in), dim=2)) if masks else None
        area = found.area.double().cpu().numpy()
        for i, of in enumerate(groups):
            for label, region in of.items():
                values = np.zeros((len(SUMS), plain.shape[-1]))
                values[: len(MEANS)] = plain[i]
                if on is not None:
                    values[len(MEANS) :] = on[i, region]
                self._count(label, Sums(1, float(area[i, region]) if masks else 0.0, values))

    def merge(self, other: "Pooled") -> None:
        """Add what another has counted."""
        self.tokens = self.tokens or other.tokens
        for label, sums in other.groups.items():
            self._count(label, sums)

    def _count(self, label: str | None, sums: Sums) -> None:
        mine = self.groups.get(label)
        self.groups[label] = sums if mine is None else mine.merge(sums)

    def to_table(self) -> pa.Table:
        """Return one row per group, for `from_table`."""
        groups = list(self.groups.items())
        flat = pa.list_(pa.float64())
        return pa.table(
            {
                "label": pa.array([label for label, _ in groups], pa.string()),
                "pictures": pa.array([sums.pictures for _, sums in groups], pa.int64()),
                "area": pa.array([sums.area for _, sums in groups], pa.float64()),
                "tokens": pa.array([self.tokens] * len(groups), pa.int64()),
                **{
                    name: pa.array([sums.values[i] for _, sums in groups], flat)
                    for i, name in enumerate(SUMS)
                },
            }
        )

    @classmethod
    def from_table(cls, table: pa.Table) -> "Pooled":
        """Read what `to_table` wrote."""
        found = cls()
        for row in range(len(table)):
            part = {name: table[name][row] for name in table.column_names}
            values = np.stack([part[name].values.to_numpy() for name in SUMS])
            found.tokens = part["tokens"].as_py()
            found.groups[part["label"].as_py()] = Sums(
                part["pictures"].as_py(), part["area"].as_py(), values
            )
        return found

    def rows(
        self,
        texts: Sequence[str],
        heads: Bool[np.ndarray, "n_layers n_heads"],
        masks: bool,
    ) -> pa.Table:
        """Return the rows of `head_map_statistics`, for the heads chosen.

        The sums are of every head of each layer that has a head chosen.
        """
        labels = sorted(self.groups, key=lambda label: (label is not EVERY, label or ""))
        tables = [self._rows(label, texts, heads, masks) for label in labels]
        return pa.concat_tables(tables or [head_map_statistics_schema().empty_table()])

    def _rows(
        self,
        label: str | None,
        texts: Sequence[str],
        heads: Bool[np.ndarray, "n_layers n_heads"],
        masks: bool,
    ) -> pa.Table:
        sums = self.groups[label]
        layers = np.flatnonzero(heads.any(axis=1))
        shape = (len(layers), heads.shape[1], len(texts))
        keep = np.broadcast_to(heads[layers][:, :, None], shape).ravel()
        values = dict(zip(SUMS, sums.values, strict=True))
        means = {name: total / sums.pictures for name, total in values.items()}
        variance = np.maximum(means["total_squared"] - means["total"] ** 2, 0)
        positive = (means["total"] + means["magnitude"]) / 2
        names = [head_name(int(layer), head) for layer in layers for head in range(shape[1])]
        per_head = np.repeat(names, shape[2]).tolist()
        layer, head, text = np.indices(shape).reshape(3, -1)
        columns: dict[str, Shaped[np.ndarray, " cell"] | list[str | None]] = {
            "layer": layers[layer],
            "head": head,
            "name": per_head,
            "text": [texts[i] for i in text],
            "label": [label] * len(text),
            "pictures": np.full(len(text), sums.pictures),
            "total": means["total"],
            "total_sd": np.sqrt(variance),
            "magnitude": means["magnitude"],
            "positive_share": _ratio(positive, means["magnitude"]),
            "focus": means["focus"],
            "effective_tokens": means["effective_tokens"],
            "tokens": np.full(len(text), self.tokens),
        }
        nothing: list[str | None] = [None] * len(text)
        columns |= {
            "on_mask": means["on_mask"] if masks else nothing,
            "positive_on_mask": _ratio(means["positive_in"], positive) if masks else nothing,
            "mask_area": np.full(len(text), sums.area / sums.pictures) if masks else nothing,
        }
        schema = head_map_statistics_schema()
        arrays = [pa.array(columns[f.name], f.type, from_pandas=True) for f in schema]
        return pa.Table.from_arrays(arrays, schema=schema).filter(pa.array(keep))


def _numbers(values: Tensor) -> np.ndarray:
    """Return all but the last three axes, these flattened to cells, as float64."""
    return values.flatten(-3).double().cpu().numpy()


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole; NaN where there is no whole."""
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
