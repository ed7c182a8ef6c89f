"""How well neighbours share a picture's attributes: precision@k and mean average precision.

Whole rankings of any number of pictures, a block of queries at a time: memory is one block's scores
and what the caller holds of the vectors.
"""

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int, Shaped

# Scores of a block of queries: 256 MB.
_HELD = 64_000_000
# Attributes that are ranked together: the bits of a byte.
_FLAGS = 8
_ROW = np.uint64(0xFFFFFFFF)

Rows = Callable[[], Iterable[Shaped[np.ndarray, "image d"]]]
Codes = Mapping[str, Int[np.ndarray, " image"]]
Scores = tuple[float, float, float]


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
    found: list[dict[str, Scores]] = []
    held = np.empty((min(step, len(queries)), n), np.float32)
    counts = np.arange(n + 1)
    mine = threading.local()

    def ranked(scores: Float32[np.ndarray, " image"], query: int) -> dict[str, Scores]:
        if not hasattr(mine, "ranker"):
            mine.ranker = Ranker(n, counts)
        ranker: Ranker = mine.ranker
        return ranker.scores(scores, query, small, k)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, len(queries), step):
            asking = queries[start : start + step]
            scores = held[: len(asking)]
            at = 0
            for part in units():
                np.matmul(asked[start : start + step], part.T, out=scores[:, at : at + len(part)])
                at += len(part)
            found += threads.map(ranked, scores, asking.tolist())
    return {name: _mean([f[name] for f in found if name in f]) for name in values}


class Ranker:
    """Ranks pictures for one query after another, in the same memory: new takes a third longer."""

    def __init__(self, n: int, counts: Int[np.ndarray, " count"]) -> None:
        """Take memory for `n` pictures; `counts` are 0, 1, ... n, which many rankers may share."""
        self._counts = counts
        self._bits = np.empty(n, np.int32)
        self._turned = np.empty(n, np.int32)
        self._keys = np.empty(n, np.uint64)
        self._flags = np.empty(n, np.uint8)
        self._ranked = np.empty(max(n - 1, 0), np.uint8)
        self._same = np.empty(n, np.bool_)
        self._shares = np.empty(n)

    def order(self, scores: Float32[np.ndarray, " image"], query: int) -> Int[np.ndarray, " rank"]:
        """Return the pictures but the query, highest score first, ties by row; until the next call.

        Score and row are sorted as one number: an order of keys is many times as fast as an order
        of indices, and the bits of a float fall in its order once positive ones are turned round.
        """
        bits, turned, keys = self._bits, self._turned, self._keys
        # one zero, whatever its sign
        np.add(scores, np.float32(0), out=bits.view(np.float32))
        np.right_shift(bits, 31, out=turned)
        np.invert(turned, out=turned)
        turned &= np.int32(0x7FFFFFFF)
        turned ^= bits
        np.left_shift(turned.view(np.uint32), np.uint64(32), out=keys, dtype=np.uint64)
        keys |= self._counts[:-1].view(np.uint64)
        keys[query] = np.iinfo(np.uint64).max
        keys.sort()
        keys &= _ROW
        return keys[:-1].view(np.int64)

    def scores(
        self, scores: Float32[np.ndarray, " image"], query: int, values: Codes, k: int
    ) -> dict[str, Scores]:
        """Return precision@k, average precision and chance, by attribute that the query has."""
        order = self.order(scores, query)
        found: dict[str, Scores] = {}
        names = [name for name, codes in values.items() if codes[query] >= 0]
        for some in (names[at : at + _FLAGS] for at in range(0, len(names), _FLAGS)):
            # one byte a picture, a bit an attribute: small enough to be looked up in any order
            self._flags.fill(0)
            bits = self._same.view(np.uint8)
            for bit, name in enumerate(some):
                np.equal(values[name], values[name][query], out=self._same)
                bits <<= np.uint8(bit)
                self._flags |= bits
            np.take(self._flags, order, out=self._ranked, mode="clip")
            for bit, name in enumerate(some):
                found[name] = self._precision(np.uint8(1 << bit), k)
        return found

    def _precision(self, flag: np.uint8, k: int) -> Scores:
        # of truth values hits are found seven times as fast as of numbers
        hits, n = self._same[:-1], len(self._ranked)
        np.bitwise_and(self._ranked, flag, out=hits.view(np.uint8))
        np.not_equal(hits.view(np.uint8), 0, out=hits)
        ranks = np.flatnonzero(hits)
        ranks += 1
        m = len(ranks)
        near = np.count_nonzero(ranks <= k) / min(k, n)
        shares = np.divide(self._counts[1 : m + 1], ranks, out=self._shares[:m])
        return near, float(shares.mean()) if m else 0.0, m / n


def _mean(scored: list[Scores]) -> Precision:
    if not scored:
        return Precision(0.0, 0.0, 0.0)
    precision, average, chance = np.mean(scored, axis=0).tolist()
    return Precision(precision, average, chance)
