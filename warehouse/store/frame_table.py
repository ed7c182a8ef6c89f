"""Head frames as Parquet, for SQL: frames-DIGEST.parquet, beside frames.safetensors.

The digest is that of frames.safetensors: a scan that is begun anew with another model gets another
file, and versions published before go on reading theirs.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from schemas.files import frames_schema
from warehouse.files.layout import ScanDir
from warehouse.results.files import stream_result


def keep_frames(
    scan: ScanDir, sha256: str, q: Mapping[int, Float[np.ndarray, "_ d_joint _"]]
) -> None:
    """Write the frames as float32, unless they are there.

    Args:
        scan: whose they are.
        sha256: digest of frames.safetensors.
        q: by layer, Q of its heads; of no layer, nothing is written.
    """
    path = scan.frame_table(sha256)
    if path.is_file() or not q:
        return
    d_joint = next(iter(q.values())).shape[1]
    schema = frames_schema(d_joint)
    with stream_result(path, schema, {"frames_sha256": sha256}) as writer:
        for layer, frames in q.items():
            for head, frame in enumerate(frames):
                count = frame.shape[1]
                flat = pa.array(np.ascontiguousarray(frame.T, np.float32).ravel())
                columns = [
                    pa.array(np.full(count, layer, np.int16)),
                    pa.array(np.full(count, head, np.int16)),
                    pa.array(np.arange(count, dtype=np.int16)),
                    pa.FixedSizeListArray.from_arrays(flat, type=schema.field("vector").type),
                ]
                writer.write_table(pa.Table.from_arrays(columns, schema=writer.schema))
