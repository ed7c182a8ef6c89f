"""Who runs where: workers shared out by node, never by the cluster's total. No Ray here."""

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.errors import UsageError
from schemas.text import how_many

# Without GPUs, one worker for so many cores: a second copy of the model costs memory, and a
# forward pass uses several cores well.
CORES = 4


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, and what it has in all."""

    id: str
    name: str
    cpus: int
    gpus: float


@dataclass(frozen=True)
class Share:
    """What one worker takes of its node."""

    cpus: int
    gpus: float


@dataclass(frozen=True)
class Place:
    """Where a worker runs, and with what."""

    node: Node
    share: Share


def gpus_each(nodes: Sequence[Node], asked: float | None) -> float:
    """Return each worker's GPUs: as asked; else one where any node has one, else none."""
    if asked is not None:
        return asked
    return 1.0 if any(node.gpus >= 1 for node in nodes) else 0.0


def places(nodes: Sequence[Node], workers: int | None, gpus: float) -> list[Place]:
    """Share out workers over nodes, as many as fit.

    Args:
        nodes: those that have no worker yet.
        workers: at most so many; None: one a GPU, or without GPUs one for four cores of a node.
        gpus: of each worker; a node's cores are shared among its workers.
    """
    room = {node: _room(node, gpus) for node in nodes}
    if workers is None:
        workers = sum(usual(node, gpus) for node in nodes)
        room = {node: min(room[node], usual(node, gpus)) for node in nodes}
    counts = dict.fromkeys(nodes, 0)
    for _ in range(workers):
        free = [node for node in nodes if counts[node] < room[node]]
        if not free:
            break
        # the node that leaves its workers most
        best = max(free, key=lambda n: (n.gpus if gpus else n.cpus) / (counts[n] + 1))
        counts[best] += 1
    return [
        Place(node, Share(max(1, node.cpus // count), gpus))
        for node, count in counts.items()
        for _ in range(count)
    ]


def _room(node: Node, gpus: float) -> int:
    """Return how many workers fit on a node, each with at least one core."""
    return min(node.cpus, int(node.gpus / gpus + 1e-9)) if gpus > 0 else node.cpus


def usual(node: Node, gpus: float) -> int:
    """Return how many workers a node has by default."""
    fit = _room(node, gpus)
    return fit if gpus > 0 else min(fit, max(1, node.cpus // CORES))


def require_room(nodes: Sequence[Node], workers: int | None, gpus: float) -> None:
    """Refuse what these nodes cannot hold; for a machine that will not grow.

    Raises:
        UsageError: more is asked for than there is.
    """
    fit = sum(_room(node, gpus) for node in nodes)
    cpus, have = sum(n.cpus for n in nodes), sum(n.gpus for n in nodes)
    if fit == 0:
        raise UsageError(
            f"gpus-per-worker {gpus:g}: this machine has {have:g}; lower it, or give 0"
        )
    if workers is not None and workers > fit:
        raise UsageError(
            f"workers {workers}: {how_many(cpus, 'core')} and {have:g} GPUs hold {fit}; "
            "lower --workers or --gpus-per-worker"
        )


def described(found: Sequence[Place], nodes: Sequence[Node]) -> str:
    """Say, in a few words, how many workers there are, where, and with what."""
    if not found:
        return f"no worker fits the {len(nodes)} nodes that are there"
    kinds = sorted({(p.share.cpus, p.share.gpus) for p in found}, reverse=True)
    each = " or ".join(
        (f"{gpus:g} GPU and " if gpus else "") + how_many(cpus, "core") for cpus, gpus in kinds
    )
    used = len({p.node for p in found})
    where = f" on {used} of {len(nodes)} nodes" if len(nodes) > 1 else ""
    return (
        f"{how_many(len(found), 'worker')}{where}, {each} each{'' if kinds[0][1] else ', no GPU'}"
    )
