"""How many bytes a scan will store, said before it runs."""

from schemas.manifest import ScanRecord

# Measured on trained and random models: zstd takes a twelfth off float16 vectors at best, often
# nothing, so nothing is counted for it.
HALF, SINGLE, DOUBLE = 2, 4, 8
# Key, uri, label, ids and fingerprint of a picture, and the metadata's usual length.
IMAGE_ROW = 150
# Footer of a contributions file, per head.
ROW_GROUP = 400
# Of a usual picture, by patches of 14 at 224.
TOKENS = 257


def bytes_to_store(record: ScanRecord, shards: list[int]) -> int:
    """Estimate the bytes of shards with these numbers of pictures."""
    m = record.model
    mlp_layers = m.n_layers if "mlp" in record.stored else 0
    picture = mlp_layers * m.d_joint * HALF + m.d_joint * SINGLE + IMAGE_ROW
    shard = (2 * m.n_layers + 3) * 2 * m.d_joint * DOUBLE
    if "means" in record.stored:
        shard += len(record.layers) * TOKENS * m.d_model * DOUBLE
    if "edges" in record.stored:
        # of each pair of layers: every head of the later one, and the parts that make it
        pairs = m.n_layers * (m.n_layers - 1) // 2
        shard += pairs * m.n_heads * (m.n_heads + 2) * m.d_head * DOUBLE
        shard += m.n_layers * m.n_heads * m.d_joint * DOUBLE
    for layer in record.layers:
        heads, width = m.heads_of(layer), record.width_of(layer)
        # of heads that are stored in the joint space, the trace alone is kept
        square = 1 if record.in_joint_space(layer) else width**2
        picture += heads * width * HALF
        shard += heads * ((square + 2 * width + 1) * DOUBLE + ROW_GROUP)
    return sum(pictures * picture + shard for pictures in shards)
