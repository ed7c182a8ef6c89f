"""Moments merged over a snapshot's shards, kept as a tree so that one new shard is a few merges.

The tree is a binary trie over the digests of the shards' names and manifests: its shape follows
from the set of shards alone, and a shard that comes or goes changes the nodes on one path, about
log2 of the shards. A node's file is named by the set of shards below it and never changes; one that
is absent or damaged is made again from what lies below. A leaf is a node too: a copy of one shard's
moments, made when the shard is first merged. So a shard is read once, and what comes or goes later
reads nodes alone, also where a shard stands alone beside the path.

Only the root is read by those who ask for a snapshot's moments.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import CorruptStore
from schemas.files import MOMENTS, moments_schema
from schemas.manifest import LiveShard, Snapshot
from warehouse.files.atomic import write_table
from warehouse.files.layout import ScanDir
from warehouse.store.reading import read_file

# Doubles hardly compress; a node's bytes are checked when it is read, and made again if need be.
_STORED: Final[dict[str, Any]] = {
    "compression": "none",
    "compression_level": None,
    "write_page_checksum": True,
}

Merge = Callable[[Iterable[pa.Table]], pa.Table]


@dataclass(frozen=True)
class Node:
    """Some shards of a snapshot, and the file of their merged moments.

    Attributes:
        path: the file.
        shards: how many lie below.
        made_from: the two halves; of a single shard, the shard's own file.
    """

    path: Path
    shards: int
    made_from: tuple["Node", "Node"] | Path

    @property
    def parts(self) -> tuple["Node", ...]:
        """The two halves; none of a single shard."""
        return () if isinstance(self.made_from, Path) else self.made_from


def tree(scan: ScanDir, snapshot: Snapshot) -> Node | None:
    """Return the tree over a snapshot's shards that hold pictures; None without any."""
    filled = [live for live in snapshot.shards if live.rows]
    leaves = sorted((_digest(live), live.shard) for live in filled)
    return _node(scan, leaves, 0) if leaves else None


def merged_moments(scan: ScanDir, snapshot: Snapshot, merge: Merge) -> pa.Table:
    """Return the moments over all of a snapshot's pictures, one row per component.

    Nodes that are not there are made and stored; in a warehouse that cannot be written, made only.

    Args:
        scan: the scan.
        snapshot: one of its snapshots.
        merge: merges moments of disjoint sets of pictures.

    Raises:
        CorruptStore: a shard's moments cannot be read.
    """
    root = tree(scan, snapshot)
    return moments_schema().empty_table() if root is None else _read(root, merge)


def blocks(root: Node, most: int) -> list[Node]:
    """Return disjoint nodes that cover all shards, the largest split first, at most `most`."""
    found = [root]
    while len(found) < most:
        widest = max(found, key=lambda node: node.shards)
        if not widest.parts:
            break
        at = found.index(widest)
        found[at : at + 1] = widest.parts
    return found


def iterate_blocks(nodes: Sequence[Node], merge: Merge) -> Iterator[pa.Table]:
    """Yield each node's moments, one table in memory at a time."""
    return (_read(node, merge) for node in nodes)


def files(root: Node | None) -> set[Path]:
    """Return the files of all nodes of a tree."""
    if root is None:
        return set()
    return {root.path}.union(*(files(part) for part in root.parts))


def _digest(live: LiveShard) -> bytes:
    return hashlib.sha256(f"{live.shard} {live.manifest_sha256}".encode()).digest()


def _node(scan: ScanDir, leaves: Sequence[tuple[bytes, str]], depth: int) -> Node:
    """Build the node of sorted leaves whose digests agree in their first `depth` bits."""
    name = hashlib.sha256(b"".join(digest for digest, _ in leaves)).hexdigest()[:24]
    path = scan.moments / f"{name}.parquet"
    if len(leaves) == 1:
        return Node(path, 1, scan.shard(leaves[0][1]) / MOMENTS)
    while True:
        ones = sum(_bit(digest, depth) for digest, _ in leaves)
        depth += 1
        if 0 < ones < len(leaves):
            break
    cut = len(leaves) - ones
    halves = (_node(scan, leaves[:cut], depth), _node(scan, leaves[cut:], depth))
    return Node(path, len(leaves), halves)


def _bit(digest: bytes, at: int) -> int:
    return digest[at // 8] >> (7 - at % 8) & 1


def _read(node: Node, merge: Merge) -> pa.Table:
    """Read a node's moments, or make them of what lies below and keep them."""
    with contextlib.suppress(CorruptStore):
        return _stored(node.path)
    if isinstance(node.made_from, Path):
        table = read_file(node.made_from)
    else:
        table = merge(_read(part, merge) for part in node.made_from)
    # a reader of a warehouse that it cannot write to goes without
    with contextlib.suppress(OSError):
        write_table(node.path, table, **_STORED)
    return table


def _stored(path: Path) -> pa.Table:
    """Read a node's file, its pages checked.

    Raises:
        CorruptStore: it is absent, or not what was written.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return file.read()
    except (pa.ArrowException, OSError) as error:
        raise CorruptStore(f"{path} cannot be read: {error}") from None
