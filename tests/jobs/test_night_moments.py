"""A night reads the moments of its own shard alone; what is made of them is as of all pictures."""

import shutil
from pathlib import Path

import numpy as np

from jobs.commands import publish, scan, textspan
from jobs.commands.publish import PublishConfig
from jobs.commands.roles import build as roles
from jobs.commands.roles.build import RolesConfig
from jobs.commands.textspan import TextSpanConfig
from jobs.steps.opened import open_scan
from jobs.steps.subset_moments import subset_moments
from pipeline.heads.textspan import textspan as picks_of
from schemas.files import MOMENTS
from tests.conftest import scan_config
from warehouse.database.query import query
from warehouse.files.layout import Warehouse
from warehouse.store.pools import EmbeddedBy, read_embeddings


def test_a_night_whose_older_shards_have_no_moments_any_more(
    published: Path, world: Path, tiny_config: Path, tmp_path: Path
) -> None:
    root = tmp_path / "w"
    shutil.copytree(published, root)
    warehouse = Warehouse(root)
    old = open_scan(warehouse, "s")
    assert len(old.shards) == 3
    for number, shard in enumerate(old.shards):
        path = old.scan.shard(shard) / MOMENTS
        if number:
            path.write_bytes(b"not what was written")
        else:
            path.unlink()

    listing, header = tmp_path / "more.csv", world.read_text().splitlines()
    shutil.copy(world.parent / "images" / "000007.png", tmp_path / "new.png")
    again = header[8].replace("images/000007.png", str(tmp_path / "new.png"))
    listing.write_text("\n".join([*header, again]))
    asked = scan_config(listing, tiny_config, root, root=str(world.parent), workers=0)
    done = scan.run(asked)
    assert (done.scanned, done.images) == (1, 241)
    textspan.run(TextSpanConfig(warehouse=root, pool="small", m=4))
    roles.run(RolesConfig(warehouse=root, turns=8, permutations=100))
    shown = publish.run(PublishConfig(warehouse=root))
    assert not {label for label in shown.stale if label.split("/")[1] in ("heads", "textspan")}

    night = open_scan(warehouse, "s")
    assert set(old.shards) < set(night.shards)
    whole = subset_moments(night, "true")  # of what is stored of every picture
    for layer, head in night.heads:
        found, expected = night.moments["head", layer, head], whole["head", layer, head]
        assert found.n == expected.n == 241
        np.testing.assert_allclose(found.mean, expected.mean, atol=1e-12)
        np.testing.assert_allclose(found.m2, expected.m2, atol=1e-11)
    model = night.record
    by = EmbeddedBy(model.model.weights_sha256, model.precision)
    texts = read_embeddings(warehouse, "small", by)
    assert texts is not None
    literal = picks_of(
        [whole["head", *head].covariance for head in night.heads],
        [night.frame(*head) for head in night.heads],
        texts,
        4,
    )
    rows = query(warehouse, "SELECT description_id FROM textspan ORDER BY layer, head, rank")
    assert rows["description_id"].to_pylist() == [int(p) for p in literal.picks.ravel() if p >= 0]
