"""When a scan wants its small shards merged, so that nights do not add up to files without end."""

from schemas.manifest import Snapshot

# Small shards that are no burden, however few shards there are.
FEW = 16


def compaction_due(snapshot: Snapshot, shard_size: int, *, share: float = 0.25) -> bool:
    """Whether shards under half of `shard_size` are too many: over `share` of all, and over 16.

    Merging then copies a picture few times: it comes after at least 16 nights,
    and what is merged is small no longer once it holds half of a shard.
    """
    small = sum(2 * live.rows < shard_size for live in snapshot.shards)
    return small > max(FEW, share * len(snapshot.shards))
