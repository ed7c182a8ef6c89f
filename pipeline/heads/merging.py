"""Merging tables of moments, all components of one width at once: `Moments.merge` on stacks.

One table of a 24 × 16-head model holds 1.6 million numbers, and a night merges some ten of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from pipeline.heads.moments import Key
from schemas.files import moments_schema

Shape = tuple[int, int]


@dataclass(frozen=True)
class Stack:
    """Moments of components whose mean and m2 have the same lengths; rows are components.

    Attributes:
        keys: of the rows, each once.
        n: pictures counted.
        mean: mean vectors.
        m2: second moments, row-major, or their trace alone.
        embedding_mean: mean embeddings, in the components' frames.
        comoment: Σ ⟨v − mean, e − mean(e)⟩.
    """

    keys: tuple[Key, ...]
    n: Int[np.ndarray, " row"]
    mean: Float[np.ndarray, "row d"]
    m2: Float[np.ndarray, "row k"]
    embedding_mean: Float[np.ndarray, "row d"]
    comoment: Float[np.ndarray, " row"]

    def take(self, keys: Sequence[Key]) -> "Stack":
        """Return the rows of these keys, in their order; itself when they are all, as they are."""
        if tuple(keys) == self.keys:
            return self
        place = {key: i for i, key in enumerate(self.keys)}
        at = [place[key] for key in keys]
        arrays = (getattr(self, field.name)[at] for field in fields(self)[1:])
        return Stack(tuple(keys), *arrays)

    def merge(self, other: "Stack") -> "Stack":
        """Return the moments of both sets of pictures (Chan, Golub and LeVeque, 1983)."""
        known = set(other.keys)
        common = [key for key in self.keys if key in known]
        a, b = self.take(common), other.take(common)
        n = a.n + b.n
        share = b.n / np.maximum(n, 1)
        delta, shift = b.mean - a.mean, b.embedding_mean - a.embedding_mean
        weight = a.n * share
        if self.m2.shape[1] == self.mean.shape[1] ** 2:
            spread = (delta[:, :, None] * delta[:, None, :]).reshape(a.m2.shape)
        else:
            spread = np.einsum("rd,rd->r", delta, delta)[:, None]
        spread *= weight[:, None]
        spread += a.m2
        spread += b.m2
        both = Stack(
            keys=a.keys,
            n=n,
            mean=a.mean + delta * share[:, None],
            m2=spread,
            embedding_mean=a.embedding_mean + shift * share[:, None],
            comoment=a.comoment + b.comoment + np.einsum("rd,rd->r", delta, shift) * weight,
        )
        alone = [
            stack.take([key for key in stack.keys if key not in found])
            for stack, found in ((self, set(common)), (other, set(common)))
        ]
        return _joined([both, *(stack for stack in alone if stack.keys)])


def merge_tables(tables: Iterable[pa.Table]) -> pa.Table:
    """Merge moments of disjoint sets of pictures into one table, one row per component."""
    found: dict[Shape, Stack] = {}
    for table in tables:
        for shape, stack in stacks(table).items():
            found[shape] = found[shape].merge(stack) if shape in found else stack
    parts = [_table(stack) for stack in found.values()]
    if not parts:
        return moments_schema().empty_table()
    order = [(name, "ascending") for name in ("component", "layer", "head")]
    return pa.concat_tables(parts).sort_by(order)


def stacks(table: pa.Table) -> dict[Shape, Stack]:
    """Read a table of moments, whose components differ, by the lengths of mean and m2."""
    table = table.combine_chunks()
    columns = (table[name].to_pylist() for name in ("component", "layer", "head"))
    keys: list[Key] = list(zip(*columns, strict=True))
    n, comoment = table["n"].to_numpy(), table["comoment"].to_numpy()
    lists = [_lists(table[name]) for name in ("mean", "m2", "embedding_mean")]
    shapes = list(zip(*(np.diff(ends).tolist() for _, ends in lists[:2]), strict=True))
    found = {}
    for shape in dict.fromkeys(shapes):
        at = np.array([i for i, other in enumerate(shapes) if other == shape])
        mean, m2, embedding_mean = (_rows(values, ends, at) for values, ends in lists)
        here = tuple(keys[i] for i in at)
        found[shape] = Stack(here, n[at], mean, m2, embedding_mean, comoment[at])
    return found


def _lists(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Return a list column's values end to end, and where each list begins, and the last ends."""
    if not column.num_chunks:
        return np.empty(0), np.zeros(1, np.int64)
    (chunk,) = column.chunks
    return chunk.values.to_numpy(), chunk.offsets.to_numpy()


def _rows(
    values: Float[np.ndarray, " number"], ends: Int[np.ndarray, " end"], at: Int[np.ndarray, " row"]
) -> Float[np.ndarray, "row width"]:
    """Gather lists of equal length as rows; without a copy where they lie end to end."""
    width = int(ends[at[0] + 1] - ends[at[0]])
    if at[-1] - at[0] + 1 == len(at):
        return values[ends[at[0]] : ends[at[0]] + len(at) * width].reshape(len(at), width)
    return values[ends[at][:, None] + np.arange(width)]


def _joined(stacked: Sequence[Stack]) -> Stack:
    if len(stacked) == 1:
        return stacked[0]
    keys = tuple(key for stack in stacked for key in stack.keys)
    names = [field.name for field in fields(Stack)[1:]]
    arrays = (np.concatenate([getattr(stack, name) for stack in stacked]) for name in names)
    return Stack(keys, *arrays)


def _table(stack: Stack) -> pa.Table:
    """Return a stack as rows of moments.parquet."""
    schema = moments_schema()
    columns = [
        *([key[i] for key in stack.keys] for i in range(3)),
        stack.n,
        *(_column(rows) for rows in (stack.mean, stack.m2, stack.embedding_mean)),
        stack.comoment,
    ]
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _column(rows: Float[np.ndarray, "row width"]) -> pa.ListArray:
    ends = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    kind = moments_schema().field("mean").type
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(rows.reshape(-1)), type=kind)
