"""The strongest paths into some heads, from the shares of edges (`head_edges`).

A path's strength is the product of its edges' |share|: how much of what the head reads comes by it,
when every head on the way is taken to pass its sources on in proportion. It is a summary of exact
shares, not itself exact; what the paths carry is therefore said beside random sets of heads.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pipeline.heads.edge_source import Source


class Edge(NamedTuple):
    """What a head reads of an earlier component.

    Attributes:
        source: what is read.
        target: the head, as (layer, head).
        share: of the head's variance.
    """

    source: Source
    target: tuple[int, int]
    share: float


class Drawn(NamedTuple):
    """An edge on one of the strongest paths.

    Attributes:
        strength: of the strongest path that begins with it.
    """

    edge: Edge
    strength: float


def strongest(edges: Iterable[Edge], targets: Sequence[tuple[int, int]], count: int) -> list[Drawn]:
    """Return the edges with which the strongest paths into any of the targets begin.

    An edge (u, v) begins, of all paths from u by v to a target, one of greatest strength
    |share(u, v)| · best(v); best of a target is 1. The edges that path goes on by are returned with
    it, so the count may be exceeded where a share is above 1. Constants are no source.

    Args:
        edges: all of a scan's.
        targets: heads.
        count: edges wanted.
    """
    into: dict[tuple[int, int], list[Edge]] = {}
    for edge in edges:
        if edge.source.kind != "const":
            into.setdefault(edge.target, []).append(edge)
    best = dict.fromkeys(targets, 1.0)
    onward: dict[tuple[int, int], Edge] = {}
    found: list[Drawn] = []
    for head in sorted(into, reverse=True):
        if head not in best:
            continue
        for edge in into[head]:
            strength = abs(edge.share) * best[head]
            found.append(Drawn(edge, strength))
            layer, number = edge.source.layer, edge.source.head
            if layer is not None and number is not None and (layer, number) not in targets:
                source = layer, number
                if strength > best.get(source, 0.0):
                    best[source], onward[source] = strength, edge
    found.sort(key=lambda drawn: (-drawn.strength, drawn.edge.target, str(drawn.edge.source)))
    strength_of = {drawn.edge: drawn for drawn in found}
    kept = dict.fromkeys(found[:count])
    for drawn in list(kept):
        head = drawn.edge.target
        while head in onward:
            kept[strength_of[onward[head]]] = None
            head = onward[head].target
    return sorted(kept, key=found.index)


def carried(
    edges: Iterable[Edge], targets: Sequence[tuple[int, int]], heads: Iterable[tuple[int, int]]
) -> float:
    """Return the mean over targets of the share that they read of some heads, directly."""
    some = set(heads)
    total = sum(
        edge.share
        for edge in edges
        if edge.target in targets and (edge.source.layer, edge.source.head) in some
    )
    return total / len(targets)
