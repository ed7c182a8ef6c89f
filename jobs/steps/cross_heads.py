"""What heads write together over pictures: of one scan, or of two that share keys; streamed.

Shards are read one at a time. Products of layers with layers are summed as many at once as fit
into `MOST_BYTES`; with more, the shards are read again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float16, Int

from jobs import console
from jobs.steps.opened import Opened
from pipeline.heads.similarity import (
    CrossSums,
    Spectra,
    joined,
    no_sums,
    side_by_side,
    spectra,
    squared_norms,
)
from warehouse.store.reading import read_layer

MOST_BYTES = 1 << 30

Pair = tuple[int, int]


@dataclass(frozen=True)
class Chosen:
    """Some pictures of a scan, in an order that may be shared with another scan.

    Attributes:
        opened: the scan.
        shard: of each picture, the place of its shard in `opened.shards`.
        row: of each picture, its row there.
    """

    opened: Opened
    shard: Int[np.ndarray, " picture"]
    row: Int[np.ndarray, " picture"]

    @property
    def layers(self) -> tuple[int, ...]:
        """The stored layers."""
        return self.opened.record.layers

    @property
    def heads(self) -> list[tuple[int, int]]:
        """(layer, head) of all stored heads, in the order of every answer here."""
        return [(layer, h) for layer in self.layers for h in range(len(self.means(layer)))]

    def take(self, at: Int[np.ndarray, " chosen"]) -> "Chosen":
        """Return some of the pictures, in this order."""
        return Chosen(self.opened, self.shard[at], self.row[at])

    def means(self, layer: int) -> Float[np.ndarray, "head d"]:
        """Return the means of a layer's heads over all pictures of the scan."""
        moments = self.opened.moments
        heads = sorted(key[2] for key in moments if key[:2] == ("head", layer))
        return np.stack([moments["head", layer, head].mean for head in heads])

    def read(self, layer: int) -> Float16[np.ndarray, "head picture d"]:
        """Read the pictures' vectors of one layer, in their order."""
        found = np.empty((0, 0, 0), np.float16)
        for shard in np.unique(self.shard):
            block = read_layer(self.opened.scan, self.opened.shards[shard], layer)
            if not found.size:
                heads, _, width = block.vectors.shape
                found = np.empty((heads, len(self.shard), width), np.float16)
            here = np.flatnonzero(self.shard == shard)
            found[:, here] = block.vectors[:, self.row[here]]
        return found


def places(opened: Opened) -> tuple[Int[np.ndarray, " picture"], Int[np.ndarray, " picture"]]:
    """Return the shard and row of every picture, in the order of `opened.images`."""
    counts = {live.shard: live.rows for live in opened.snapshot.shards}
    each = [counts[shard] for shard in opened.shards]
    shard = np.repeat(np.arange(len(each)), each)
    row = np.concatenate([np.arange(count) for count in each] or [np.empty(0, np.int64)])
    return shard, row


def own_spectra(chosen: Chosen) -> Spectra:
    """Return the spectra of each stored head over the chosen pictures, in the order of `heads`."""
    parts = []
    for layer in chosen.layers:
        shift = chosen.means(layer)
        n, heads, width = 0, *shift.shape
        total, square = np.zeros((heads, width)), np.zeros((heads, width, width))
        for some in _chunks(chosen):
            rows = chosen.take(some).read(layer).astype(np.float64) - shift[:, None]
            n += len(some)
            total += rows.sum(axis=1)
            square += rows.transpose(0, 2, 1) @ rows
        mean = total / n
        parts.append(spectra(square / n - mean[:, :, None] * mean[:, None]))
    return joined(parts)


def cross_norms(a: Chosen, b: Chosen, *, same: bool) -> Float[np.ndarray, "head other"]:
    """Return ‖C‖² of each head of `a` with each of `b` over the same pictures.

    Args:
        a: pictures of one scan.
        b: the same pictures, in the same order, of another or the same scan.
        same: whether it is the same scan: half of the pairs are then computed.
    """
    first, second = _places_of(a), _places_of(b)
    found = np.zeros((len(a.heads), len(b.heads)))
    pairs = [(x, y) for x in a.layers for y in b.layers if not same or x <= y]
    todo = len(pairs) * sum(1 for _ in _chunks(a))
    with console.progress("Comparing heads", todo, "products") as advance:
        done = 0
        for some in _passes(a, b, pairs):
            sums = {pair: no_sums(*_widths(a, b, pair)) for pair in some}
            for chunk in _chunks(a):
                _add(sums, a.take(chunk), b.take(chunk), same=same)
                done += len(some)
                advance(done)
            for (x, y), total in sums.items():
                heads, others = first[x], second[y]
                norms = squared_norms(total.covariance, len(heads), len(others))
                found[heads.start : heads.stop, others.start : others.stop] = norms
                if same and x != y:
                    found[others.start : others.stop, heads.start : heads.stop] = norms.T
    return found


def _add(sums: dict[Pair, CrossSums], a: Chosen, b: Chosen, *, same: bool) -> None:
    """Add the pictures of `a` and `b` to the sums of each pair of layers, in place."""
    left = {layer: a.read(layer) for layer in dict.fromkeys(x for x, _ in sums)}
    known = left if same else {}
    right = {y: known[y] if y in known else b.read(y) for y in dict.fromkeys(y for _, y in sums)}
    before: tuple[int, np.ndarray] | None = None
    for (x, y), total in sums.items():
        # pairs of one layer follow each other
        if before is None or before[0] != x:
            before = x, side_by_side(left[x], a.means(x))
        sums[x, y] = total.add(before[1], side_by_side(right[y], b.means(y)))


def _chunks(chosen: Chosen) -> Iterator[Int[np.ndarray, " some"]]:
    """Yield the pictures of each shard."""
    for shard in np.unique(chosen.shard):
        yield np.flatnonzero(chosen.shard == shard)


def _passes(a: Chosen, b: Chosen, pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    """Yield pairs of layers whose sums fit into memory together; at least one."""
    some, size = list[Pair](), 0
    for pair in pairs:
        width, other = _widths(a, b, pair)
        if some and size + 8 * width * other > MOST_BYTES:
            yield some
            some, size = [], 0
        some.append(pair)
        size += 8 * width * other
    if some:
        yield some


def _widths(a: Chosen, b: Chosen, pair: Pair) -> Pair:
    """Return how many numbers a picture has in each of two layers."""
    return a.means(pair[0]).size, b.means(pair[1]).size


def _places_of(chosen: Chosen) -> dict[int, range]:
    """Return, by layer, the places of its heads among all."""
    found, start = {}, 0
    for layer in chosen.layers:
        stop = start + len(chosen.means(layer))
        found[layer], start = range(start, stop), stop
    return found
