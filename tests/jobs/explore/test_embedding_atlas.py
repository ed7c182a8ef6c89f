"""`export --embedding-atlas`: what the tool reads, against a literal computation."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from jobs.commands.export import ExportConfig, run
from jobs.steps.opened import open_scan
from tests.jobs.explore.conftest import PICTURES
from warehouse.files.layout import Warehouse
from warehouse.store.reading import read_head


def test_places_neighbours_and_thumbnails_of_a_head(explored: Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "L5H0.parquet"
    done = run(ExportConfig(output=path, warehouse=explored.root, embedding_atlas="L5H0"))
    table = pq.read_table(path)
    assert done.images == len(table) == PICTURES
    opened = open_scan(explored, None)
    _, vectors = read_head(opened.scan, opened.shards, 5, 0)
    centred = vectors.astype(np.float64) - vectors.astype(np.float64).mean(axis=0)
    # the first place is the direction of the largest variance, the second of the next
    spread = np.linalg.svd(centred, compute_uv=False) ** 2
    for name, expected in zip("xy", spread, strict=False):
        np.testing.assert_allclose((table[name].to_numpy() ** 2).sum(), expected, rtol=1e-3)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    for row, found in enumerate(table["neighbors"].to_pylist()):
        cosines = unit @ unit[row]
        cosines[row] = -np.inf
        best = np.sort(cosines)[::-1][: len(found["ids"])]
        assert row not in found["ids"]
        np.testing.assert_allclose(1 - np.array(found["distances"]), best, atol=2e-3)
        np.testing.assert_allclose(cosines[found["ids"]], best, atol=2e-3)
    first = table["image"][0].as_py()
    assert first["bytes"][:2] == b"\xff\xd8"
    assert first["path"] == table["key"][0].as_py()
