"""The head frames of a scan's text tower: computed once, kept as a result, loaded ever after."""

import numpy as np
import pyarrow as pa

from pipeline.heads.frames import head_frames
from pipeline.heads.stored_frames import Frames
from pipeline.towers.text_tower import TextTower
from schemas.errors import UnsupportedModel
from schemas.results import KINDS
from schemas.results.text_frames import TEXT_FRAMES, text_frames_schema
from warehouse.files.layout import ScanDir
from warehouse.results.claims import Now
from warehouse.results.files import read_result, write_result
from warehouse.results.registry import result_path


def text_frames(scan: ScanDir, now: Now, tower: TextTower, name: str) -> Frames:
    """Return the frames of all layers of a text tower, kept with the scan.

    Raises:
        UnsupportedModel: the tower's heads are wider than the joint space.
    """
    width = max((block.d_head for block in tower.blocks), default=0)
    if tower.d_joint < width:
        raise UnsupportedModel(
            f"{name}: joint width {tower.d_joint} below the width {width} of the text tower's "
            "heads: their frames do not fit"
        )
    kind = KINDS[TEXT_FRAMES]
    path, claim = result_path(scan, kind, TEXT_FRAMES), now.claim(kind)
    if now.why_not(path, claim) is not None:
        made = head_frames(tower, range(tower.n_layers))
        write_result(path, _table(made), now.provenance(claim))
    return _frames(read_result(path)[0])


def _table(frames: Frames) -> pa.Table:
    rows = [
        {"layer": layer, "head": head, "q": q[head].ravel(), "r": r[head].ravel()}
        for layer, (q, r) in frames.pairs.items()
        for head in range(len(q))
    ]
    return pa.Table.from_pylist(rows, schema=text_frames_schema())


def _frames(table: pa.Table) -> Frames:
    layers = table["layer"].to_numpy()
    pairs = {}
    for layer in dict.fromkeys(layers.tolist()):
        part = table.slice(int(np.flatnonzero(layers == layer)[0]), int((layers == layer).sum()))
        r = np.stack([row.values.to_numpy() for row in part["r"]])
        width = round(r.shape[1] ** 0.5)
        q = np.stack([row.values.to_numpy() for row in part["q"]])
        pairs[layer] = (q.reshape(len(q), -1, width), r.reshape(len(r), width, width))
    return Frames(pairs)
