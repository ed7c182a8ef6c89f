"""How well neighbours share a picture's attributes: precision@k and mean average precision.

Whole rankings of any number of pictures, a block of queries at a time: memory is one block's scores
and what the caller holds of the vectors.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from jaxtyping import Float, Float32, Int, Shaped

# Scores of a block of queries: 128 MB.
_HELD = 32_000_000
# Attributes that are ranked together: the bits of a byte.
_FLAGS = 8
_ROW = np.uint64(0xFFFFFFFF)

Rows = Callable[[], Iterable[Shaped[np.ndarray, "image d"]]]
Codes = Mapping[str, Int[np.ndarray, " image"]]


@dataclass(frozen=True)
class Precision:
    """How well neighbours share a query's attribute, averaged over queries.

    Attributes:
        precision: share of the k nearest pictures that have the query's value.
        average_precision: mean over queries of the average precision of the whole ranking (mAP).
        chance: share of pictures that have the query's value.
    """

    precision: float
    average_precision: float
    chance: float


def precision_of(
    vectors: Shaped[np.ndarray, "image d"],
    values: Codes,
    queries: Int[np.ndarray, " query"],
    k: int,
) -> dict[str, Precision]:
    """Retrieve by cosine of centred vectors, and score against each attribute's values.

    Args:
        vectors: one head's, or embeddings; float32 vectors are made centred and unit-norm in place.
        values: by attribute, a code for each picture; -1 where it has none (never a match).
        queries: rows to ask with; a picture is not its own neighbour.
        k: neighbours of precision@k.
    """
    v = vectors.astype(np.float32, copy=False)
    unit = _unit(v, v.mean(axis=0, dtype=np.float64))
    return _scored(lambda: [unit], unit[queries], values, queries, k)


def precision_streamed(
    rows: Rows, values: Codes, queries: Int[np.ndarray, " query"], k: int
) -> dict[str, Precision]:
    """Do as `precision_of` with vectors that are too large to hold, in parts read again and again.

    Args:
        rows: gives the parts, in the order of the pictures, from the first each time.
        values: as there.
        queries: as there, ascending.
        k: as there.
    """
    total, n = np.zeros(0), 0
    asked: list[np.ndarray] = []
    for part in rows():
        sums = part.sum(axis=0, dtype=np.float64)
        total = sums if not n else total + sums
        here = queries[(queries >= n) & (queries < n + len(part))]
        asked.append(part[here - n].astype(np.float32))
        n += len(part)
    mean = total / max(n, 1)
    return _scored(
        lambda: (_unit(part.astype(np.float32), mean) for part in rows()),
        _unit(np.concatenate(asked), mean),
        values,
        queries,
        k,
    )


def _unit(
    v: Float32[np.ndarray, "image d"], mean: Float[np.ndarray, " d"]
) -> Float32[np.ndarray, "image d"]:
    """Centre vectors and make them unit-norm, in place; those without length stay zero."""
    v -= mean.astype(np.float32)
    length = np.sqrt(np.einsum("nd,nd->n", v, v))
    v /= np.where(length > 0, length, 1)[:, None]
    return v


def _scored(
    units: Rows,
    asked: Float32[np.ndarray, "query d"],
    values: Codes,
    queries: Int[np.ndarray, " query"],
    k: int,
) -> dict[str, Precision]:
    n = len(next(iter(values.values())))
    small = {name: codes.astype(np.int32) for name, codes in values.items()}
    step = max(1, _HELD // max(n, 1))
    found: list[dict[str, tuple[float, float, float]]] = []
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, len(queries), step):
            block = slice(start, start + step)
            scores = np.empty((len(queries[block]), n), np.float32)
            at = 0
            for part in units():
                np.matmul(asked[block], part.T, out=scores[:, at : at + len(part)])
                at += len(part)
            asking = queries[block].tolist()
            found += threads.map(_one, scores, asking, repeat(small), repeat(k))
    return {name: _mean([f[name] for f in found if name in f]) for name in values}


def _one(
    scores: Float32[np.ndarray, " image"], query: int, values: Codes, k: int
) -> dict[str, tuple[float, float, float]]:
    """Return precision@k, average precision and chance of one ranking, by attribute it has."""
    order = _ranking(scores, query)
    found: dict[str, tuple[float, float, float]] = {}
    names = [name for name, codes in values.items() if codes[query] >= 0]
    for some in (names[at : at + _FLAGS] for at in range(0, len(names), _FLAGS)):
        # one byte a picture, a bit an attribute: small enough to be looked up in any order
        flags = np.zeros(len(scores), np.uint8)
        for bit, name in enumerate(some):
            same = values[name] == values[name][query]
            flags |= same.view(np.uint8) * np.uint8(1 << bit)
        ranked = flags[order]
        for bit, name in enumerate(some):
            # of truth values it is found seven times as fast as of numbers
            ranks = np.flatnonzero((ranked & np.uint8(1 << bit)) != 0) + 1
            near = np.count_nonzero(ranks <= k) / min(k, len(order))
            average = float((np.arange(1, len(ranks) + 1) / ranks).mean()) if len(ranks) else 0.0
            found[name] = (near, average, len(ranks) / len(order))
    return found


def _ranking(scores: Float32[np.ndarray, " image"], query: int) -> Int[np.ndarray, " rank"]:
    """Return the other pictures, highest score first, ties by row.

    Score and row are sorted as one number: an order of keys is many times as fast as an order of
    indices, and the bits of a float fall in its order once positive ones are turned round.
    """
    # one zero, whatever its sign
    bits = (scores + np.float32(0)).view(np.int32)
    turned = bits >> 31
    np.invert(turned, out=turned)
    turned &= np.int32(0x7FFFFFFF)
    turned ^= bits
    keys = np.left_shift(turned.view(np.uint32), np.uint64(32), dtype=np.uint64)
    keys |= np.arange(len(scores), dtype=np.uint64)
    keys[query] = np.iinfo(np.uint64).max
    keys.sort()
    keys &= _ROW
    return keys[:-1].view(np.int64)


def _mean(scored: list[tuple[float, float, float]]) -> Precision:
    if not scored:
        return Precision(0.0, 0.0, 0.0)
    precision, average, chance = np.mean(scored, axis=0).tolist()
    return Precision(precision, average, chance)
