"""`headatlas edges`: its table and macros against paths computed at once."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from jobs.commands import edges, publish
from jobs.commands.edges import EdgesConfig
from pipeline.heads.edges import Edges, sources
from pipeline.towers.models import load_model
from tests.jobs.test_effects_job import N, made
from tests.pipeline.heads.test_edges import summed
from warehouse.database.query import query
from warehouse.files.layout import Warehouse
from warehouse.store.opened import open_snapshot

__all__ = ["made"]


@pytest.fixture
def warehouse(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "w")
    return tmp_path / "w"


def test_the_table_and_macros_hold_the_shares(warehouse: Path, tiny_config: Path) -> None:
    config = EdgesConfig(warehouse=warehouse, workers=0, shard_size=9, batch_size=4)
    done = edges.run(config)
    assert done.images == N and not done.reused and done.rejects == ()
    assert edges.run(config).reused
    publish.run(publish.PublishConfig(warehouse=warehouse))
    opened, loaded = open_snapshot(Warehouse(warehouse), None), load_model(str(tiny_config), "none")
    uris = opened.images(["uri"])["uri"].to_pylist()
    pixels = torch.stack([loaded.transform(Image.open(u).convert("RGB")) for u in uris])
    sums = summed(Edges(loaded.tower), pixels)
    total = "SELECT sum(share) AS total, count(*) AS n FROM head_edges GROUP BY layer, head"
    rows = query(Warehouse(warehouse), total).to_pylist()
    assert len(rows) == 9 and all(abs(row["total"] - 1) < 1e-4 for row in rows)
    names = sources(loaded.tower, 2)
    own = dict(zip(names, sums.shares(2)[1].tolist(), strict=True))
    order = sorted(own, key=lambda source: -own[source])
    asked = "SELECT name, component, share FROM head_feeders('L2H1', k := 4)"
    fed = query(Warehouse(warehouse), asked).to_pylist()
    assert [row["component"] for row in fed] == [source.kind for source in order[:4]]
    np.testing.assert_allclose(
        [row["share"] for row in fed], [own[s] for s in order[:4]], atol=1e-4
    )
    (heads,) = (sums.shares(1)[:, sources(loaded.tower, 1).index(("head", 0, 2))],)
    later = sums.shares(2)[:, names.index(("head", 0, 2))]
    expected = sorted([*heads.tolist(), *later.tolist()], reverse=True)
    readers = query(
        Warehouse(warehouse), "SELECT name, share FROM head_fed('L0H2', k := 6, scan := 's')"
    ).to_pylist()
    np.testing.assert_allclose([row["share"] for row in readers], expected, atol=1e-4)
    assert {row["name"] for row in readers} == {f"L{n}H{h}" for n in (1, 2) for h in range(3)}
    second = query(Warehouse(warehouse), "SELECT * FROM second_order_effects ORDER BY layer, head")
    assert second["name"].to_pylist() == [f"L{n}H{h}" for n in (0, 1) for h in range(3)]
    np.testing.assert_allclose(second["share"], sums.second_shares(), atol=1e-5)
    nothing = query(Warehouse(warehouse), "SELECT * FROM head_fed('L2H0')")
    assert len(nothing) == 0


def test_a_sample_is_counted_and_another_claim(warehouse: Path) -> None:
    done = edges.run(EdgesConfig(warehouse=warehouse, workers=0, sample=10))
    assert done.images == 10
    assert not edges.run(EdgesConfig(warehouse=warehouse, workers=0, sample=11)).reused
