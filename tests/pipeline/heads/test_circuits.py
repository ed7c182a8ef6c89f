"""The strongest paths into heads, against an enumeration of all paths."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.heads.circuits import Edge, carried, strongest
from pipeline.heads.edge_source import Source

LAYERS, HEADS = 4, 2
Head = tuple[int, int]


@st.composite
def drawn_edges(draw: st.DrawFn) -> list[Edge]:
    """Return every edge of a small model with random shares, all different."""
    found = []
    for layer in range(LAYERS):
        for head in range(HEADS):
            sources = [Source("const"), Source("init")]
            for below in range(layer):
                sources += [Source("head", below, h) for h in range(HEADS)]
                sources += [Source("mlp", below)]
            found += [(source, (layer, head)) for source in sources]
    numbers = st.lists(
        st.integers(1, 10_000), min_size=len(found), max_size=len(found), unique=True
    )
    signs = draw(st.lists(st.sampled_from([-1, 1]), min_size=len(found), max_size=len(found)))
    shares = draw(numbers)
    return [
        Edge(source, target, sign * share / 10_001)
        for (source, target), share, sign in zip(found, shares, signs, strict=True)
    ]


def paths(edges: list[Edge], target: Head) -> Iterator[tuple[Edge, ...]]:
    """Yield every path into a head, the edge that it begins with first."""
    for edge in edges:
        if edge.target != target or edge.source.kind == "const":
            continue
        yield (edge,)
        if edge.source.layer is not None and edge.source.head is not None:
            for path in paths(edges, (edge.source.layer, edge.source.head)):
                yield (*path, edge)


def strength(path: tuple[Edge, ...]) -> float:
    found = 1.0
    for edge in path:
        found *= abs(edge.share)
    return found


@given(drawn_edges(), st.integers(1, 12))
def test_edges_are_those_with_which_the_strongest_paths_begin(
    edges: list[Edge], count: int
) -> None:
    target = (LAYERS - 1, 1)
    best: dict[Edge, float] = {}
    for path in paths(edges, target):
        best[path[0]] = max(best.get(path[0], 0.0), strength(path))
    expected = sorted(best, key=lambda edge: -best[edge])
    found = strongest(edges, [target], count)
    assert [one.edge for one in found] == expected[: len(found)] and len(found) == count
    for one in found:
        assert one.strength == pytest.approx(best[one.edge])
    # what is drawn hangs together: every head that is read leads on to the target
    sources = [one.edge.source for one in found]
    reached = {target, *((s.layer, s.head) for s in sources if s.head is not None)}
    assert all(one.edge.target in reached for one in found)


def test_where_a_share_is_above_one_the_way_to_the_target_is_drawn_too() -> None:
    edges = [
        Edge(Source("head", 1, 0), (2, 0), 0.1),
        Edge(Source("mlp", 0), (2, 0), 0.2),
        Edge(Source("head", 0, 0), (1, 0), 3.0),
    ]
    found = strongest(edges, [(2, 0)], 1)
    assert [(one.edge.source, one.strength) for one in found] == [
        (Source("head", 0, 0), pytest.approx(0.3)),
        (Source("head", 1, 0), pytest.approx(0.1)),
    ]


def test_what_heads_carry_is_the_mean_over_targets_of_what_is_read_directly() -> None:
    edges = [
        Edge(Source("head", 0, 0), (1, 0), 0.3),
        Edge(Source("head", 0, 1), (1, 0), -0.1),
        Edge(Source("mlp", 0), (1, 0), 0.5),
        Edge(Source("head", 0, 0), (1, 1), 0.2),
    ]
    assert carried(edges, [(1, 0), (1, 1)], [(0, 0), (0, 1)]) == pytest.approx(0.2)
    assert carried(edges, [(1, 0)], [(0, 1)]) == pytest.approx(-0.1)
