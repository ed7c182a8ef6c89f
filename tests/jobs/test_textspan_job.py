"""`headatlas textspan` on a scan: stored rows, subsets of pictures, staleness."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from jobs.commands import textspan
from jobs.commands.textspan import TextSpanConfig
from pipeline.heads.stored_frames import load_frames
from schemas.errors import HeadAtlasError
from tests.jobs.test_scan import everything
from tests.pipeline.heads.test_textspan import algorithm_1
from warehouse.database.query import query
from warehouse.files.layout import Warehouse
from warehouse.results.files import read_result
from warehouse.store.pools import EmbeddedBy, read_embeddings


def test_the_stored_basis_is_algorithm_1_on_the_stored_contributions(published: Path) -> None:
    scan = Warehouse(published).scan("s")
    record = scan.load_record()
    frames = load_frames(scan.frames, record.frames_sha256)
    by = EmbeddedBy(record.model.weights_sha256, record.precision)
    texts = read_embeddings(Warehouse(published), "small", by)
    table, provenance = read_result(scan.textspan / "small.parquet")
    assert provenance["snapshot"] == 1
    stored = everything(published)
    rows = table.to_pylist()
    for layer in range(3):
        for head in range(3):
            q = frames.q[layer, head]
            c = stored[f"L{layer}H{head}"].astype(np.float64) @ q.T
            projected = texts.astype(np.float64) @ q @ q.T
            picks, removed = algorithm_1(c, projected, 4)
            mine = [r for r in rows if (r["layer"], r["head"]) == (layer, head)]
            assert [r["description_id"] for r in mine] == picks
            np.testing.assert_allclose([r["variance"] for r in mine], removed, rtol=1e-4)


def test_a_subset_of_pictures_gives_the_basis_of_those_pictures(
    published: Path, tmp_path: Path
) -> None:
    warehouse = shutil.copytree(published, tmp_path / "w")
    done = textspan.run(
        TextSpanConfig(
            warehouse=warehouse, pool="small", m=2, where="background = 'sand'", basis="sand"
        )
    )
    keys = query(
        Warehouse(published),
        "SELECT key FROM images JOIN image_metadata USING (scan_id, image_id) "
        "WHERE background = 'sand'",
    )
    assert done.images == len(keys) < 240
    moments_rows, provenance = read_result(done.path)
    assert provenance["where"] == "background = 'sand'"
    stored = everything(published)
    chosen = np.isin(stored["key"], keys["key"].to_pylist())
    first = moments_rows.to_pylist()[0]
    v = stored["L0H0"][chosen].astype(np.float64)
    total = np.trace(np.cov(v.T, bias=True))
    np.testing.assert_allclose(first["variance"] / first["explained"], total, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pool": "none"}, "no pool 'none'; there is small"),
        ({"scan": "other"}, "no scan 'other'; there is s"),
        ({"where": "background = 'lava'"}, "no picture"),
        ({"where": "DROP TABLE images"}, "condition"),
    ],
)
def test_wrong_options_say_what_exists(
    published: Path, options: dict[str, object], words: str
) -> None:
    values = {"warehouse": published, "pool": "small", **options}
    with pytest.raises(HeadAtlasError, match=words):
        textspan.run(TextSpanConfig.checked(values))
