"""How many bytes a scan will store, said before it runs."""

from schemas.manifest import ScanRecord

# Measured on trained and random models: zstd takes a twelfth off float16 vectors at best, often
# nothing, so nothing is counted for it.
HALF, SINGLE, DOUBLE = 2, 4, 8
# Key, uri, label, ids and fingerprint of a picture, and the metadata's usual length.
IMAGE_ROW = 150
# Footer of a contributions file, per head.
ROW_GROUP = 400


def bytes_to_store(record: ScanRecord, shards: list[int]) -> int:
    """Estimate the bytes of shards with these numbers of pictures."""
    m, layers = record.model, len(record.layers)
    mlp_layers = m.n_layers if "mlp" in record.stored else 0
    picture = layers * m.n_heads * m.d_head * HALF + mlp_layers * m.d_joint * HALF
    picture += m.d_joint * SINGLE + IMAGE_ROW
    head_moments = (m.d_head**2 + 2 * m.d_head + 1) * DOUBLE
    other_moments = (2 * m.n_layers + 3) * 2 * m.d_joint * DOUBLE
    shard = layers * m.n_heads * (head_moments + ROW_GROUP) + other_moments
    return sum(pictures * picture + shard for pictures in shards)
