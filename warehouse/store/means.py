"""Means of components over all pictures of a scan, from its shards' moments."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Float

from schemas.errors import UnknownName, UsageError
from schemas.files import MOMENTS
from schemas.names import head_name
from warehouse.files.layout import ScanDir

_COLUMNS = ["component", "layer", "head", "n", "mean"]


@dataclass(frozen=True)
class Means:
    """Mean vectors of one kind of component.

    Attributes:
        n: pictures.
        layers: of each row, ascending.
        heads: of each row; -1 where the component has none.
        vectors: one mean per row.
    """

    n: int
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    vectors: Float[np.ndarray, "row d"]

    def of(self, layer: int, head: int) -> Float[np.ndarray, " d"]:
        """Return the mean of one component.

        Raises:
            UnknownName: the scan does not store it.
        """
        for i, pair in enumerate(zip(self.layers, self.heads, strict=True)):
            if pair == (layer, head):
                found: np.ndarray = self.vectors[i]
                return found
        known = [head_name(*pair) for pair in zip(self.layers, self.heads, strict=True)]
        raise UnknownName.among("head", head_name(layer, head), known)


def read_means(scan: ScanDir, shards: Sequence[str], component: str) -> Means:
    """Return the means of all heads (`head`), MLPs (`mlp`), ..., over the pictures of some shards.

    Raises:
        UsageError: there is no picture.
    """
    total, n = None, 0
    layers: list[int] = []
    heads: list[int] = []
    for shard in shards:
        table = pq.read_table(scan.shard(shard) / MOMENTS, columns=_COLUMNS)
        rows = table.filter(pc.equal(table["component"], component))
        rows = rows.sort_by([("layer", "ascending"), ("head", "ascending")])
        count = max(rows["n"].to_pylist(), default=0)
        if not count:
            continue
        means = np.stack([mean.values.to_numpy() for mean in rows["mean"]])
        total = means * count if total is None else total + means * count
        n += count
        layers, heads = rows["layer"].to_pylist(), rows["head"].to_pylist()
    if total is None:
        raise UsageError(f"scan {scan.name} holds no {component} of any picture; scan some first")
    return Means(n, tuple(layers), tuple(heads), total / n)
