"""Workers are shared out by node: never more on one than it holds, never of the cluster's total."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.ray.nodes import Node, Place, Share, described, gpus_each, places, require_room
from schemas.errors import UsageError


def node(cpus: int, gpus: float = 0, name: str = "a") -> Node:
    return Node(name, name, cpus, gpus)


@pytest.mark.parametrize(
    ("have", "workers", "gpus", "expected"),
    [
        ((2, 0), None, None, (1, Share(2, 0))),
        ((16, 0), None, None, (4, Share(4, 0))),
        ((16, 0), 8, None, (8, Share(2, 0))),
        ((16, 2), None, None, (2, Share(8, 1))),
        ((16, 2), None, 0.5, (4, Share(4, 0.5))),
        ((16, 2), None, 0, (4, Share(4, 0))),
    ],
)
def test_a_node_is_shared_out(
    have: tuple[int, float], workers: int | None, gpus: float | None, expected: tuple[int, Share]
) -> None:
    nodes = [node(*have)]
    count, share = expected
    assert places(nodes, workers, gpus_each(nodes, gpus)) == [Place(nodes[0], share)] * count


@pytest.mark.parametrize(("workers", "gpus"), [(3, None), (None, 1.0)])
def test_more_than_there_is_is_refused(workers: int | None, gpus: float | None) -> None:
    nodes = [node(2)]
    with pytest.raises(UsageError, match="per-worker"):
        require_room(nodes, workers, gpus_each(nodes, gpus))


def test_two_nodes_of_six_cores_hold_one_worker_each() -> None:
    """The total of 12 cores would hold 3 workers of 4, of which one fits no node."""
    nodes = [node(6, name="a"), node(6, name="b")]
    assert places(nodes, None, 0) == [Place(n, Share(6, 0)) for n in nodes]
    assert described(places(nodes, None, 0), nodes) == (
        "2 workers on 2 of 2 nodes, 6 cores each, no GPU"
    )


def test_a_large_head_without_gpu_does_not_keep_the_gpu_node_from_its_worker() -> None:
    nodes = [node(16, 0, "head"), node(8, 1, "gpu")]
    assert places(nodes, None, gpus_each(nodes, None)) == [Place(nodes[1], Share(8, 1))]


@given(
    st.lists(st.tuples(st.integers(1, 96), st.integers(0, 8)), max_size=6),
    st.one_of(st.none(), st.integers(1, 40)),
    st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0]),
)
def test_no_node_is_asked_for_more_than_it_has(
    sizes: list[tuple[int, int]], workers: int | None, gpus: float
) -> None:
    nodes = [node(cpus, have, str(i)) for i, (cpus, have) in enumerate(sizes)]
    found = places(nodes, workers, gpus)
    for one in nodes:
        here = [p.share for p in found if p.node == one]
        assert sum(s.cpus for s in here) <= one.cpus
        assert sum(s.gpus for s in here) <= one.gpus + 1e-6
        assert all(s.cpus >= 1 for s in here)
    if workers is not None:
        room = sum(min(n.cpus, int(n.gpus / gpus)) if gpus else n.cpus for n in nodes)
        assert len(found) == min(workers, room)
