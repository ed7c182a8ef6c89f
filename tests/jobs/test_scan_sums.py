"""`scan --store edges,means`: sums kept in the scan's pass are those of a pass of their own."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from jobs.commands import compact, edges, effects, scan, verify, zeroshot
from jobs.commands.compact import CompactConfig
from jobs.commands.edges import EdgesConfig
from jobs.commands.effects import EffectsConfig
from jobs.commands.verify import VerifyConfig
from jobs.commands.zeroshot import ZeroShotConfig
from jobs.workers.edges import EdgesWorker
from jobs.workers.means import MeansWorker
from pipeline.heads.edge_sums import EdgeSums
from pipeline.heads.position_means import PositionSums
from schemas.errors import StaleScan
from schemas.files import SUMS
from tests.conftest import scan_config
from warehouse.files.layout import Warehouse
from warehouse.results.files import read_result
from warehouse.store.opened import open_snapshot
from warehouse.store.shards import load_manifest
from warehouse.store.sums import merge_sums, read_sums
from warehouse.store.verify import _row_problems

N = 16


def scanned(world: Path, config: Path, root: Path, count: int = N, **options: object) -> Path:
    """Scan some pictures into `root / "w"`."""
    root.mkdir(exist_ok=True)
    listing = root / "listing.csv"
    listing.write_text("\n".join(world.read_text().splitlines()[: count + 1]))
    more = {"root": str(world.parent), "workers": 0, "shard_size": 6, "batch_size": 4, **options}
    scan.run(scan_config(listing, config, root / "w", **more))
    return root / "w"


@pytest.fixture(scope="module")
def kept(world: Path, tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kept")
    return scanned(world, tiny_config, root, store=("edges", "means"))


@pytest.fixture(scope="module")
def plain(world: Path, tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scanned(world, tiny_config, tmp_path_factory.mktemp("plain"))


def shares(warehouse: Path) -> np.ndarray:
    done = edges.run(EdgesConfig(warehouse=warehouse, workers=0))
    assert done.images == N
    return read_result(done.path)[0]["share"].to_numpy()


def effect_table(warehouse: Path) -> pa.Table:
    named = {"classes": "a=bird,b=car", "templates": "none", "classifier": "ab"}
    zeroshot.run(ZeroShotConfig(warehouse=warehouse, **named))
    done = effects.run(
        EffectsConfig(warehouse=warehouse, classifier="ab", check=4, workers=0, heads=("L0H1",))
    )
    assert done.path is not None
    return read_result(done.path)[0]


def test_nothing_is_read_again_and_the_numbers_are_the_same(
    kept: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, total = shares(plain), effect_table(plain)

    def never(self: object, task: object) -> Path:
        raise AssertionError("the scan has kept it")

    monkeypatch.setattr(EdgesWorker, "__call__", never)
    monkeypatch.setattr(MeansWorker, "__call__", never)
    np.testing.assert_allclose(shares(kept), expected, atol=1e-4)
    found = effect_table(kept)
    for name in ("total", "atp", "abs_direct"):
        np.testing.assert_allclose(found[name].to_numpy(), total[name].to_numpy(), atol=1e-5)


def test_compacting_adds_them_up_and_verify_counts_them(kept: Path) -> None:
    before = _sums(kept)
    compact.run(CompactConfig(warehouse=kept, shard_size=64))
    opened = open_snapshot(Warehouse(kept), None)
    assert len(opened.shards) == 1
    after = _sums(kept)
    for mine, theirs in zip(after, before, strict=True):
        assert mine.count == theirs.count == N
    edge, means = after
    for layer, of in before[0].layers.items():
        for name, value in of.items():
            np.testing.assert_allclose(edge.layers[layer][name], value, atol=1e-12)
    for key, value in before[1].sums.items():
        np.testing.assert_allclose(means.sums[key], value, atol=1e-12)
    verify.run(VerifyConfig(warehouse=kept))
    (shard,), record = opened.shards, opened.record
    path, manifest = opened.scan.shard(shard) / SUMS["means"], load_manifest(opened.scan, shard)
    whole, table = path.read_bytes(), pq.read_table(path)
    at = table.schema.get_field_index("count")
    wrong = table.set_column(at, table.schema.field(at), pa.array([N - 1] * len(table)))
    pq.write_table(wrong, path)
    found = list(_row_problems(opened.scan, manifest, record, False, Counter(), []))
    path.write_bytes(whole)
    assert [one.problem for one in found] == ["its sums do not count the shard's pictures"]
    assert not list(_row_problems(opened.scan, manifest, record, False, Counter(), []))


def _sums(warehouse: Path) -> tuple[EdgeSums, PositionSums]:
    opened = open_snapshot(Warehouse(warehouse), None)
    tables = [read_sums(opened.scan, opened.shards, what) for what in ("edges", "means")]
    assert tables[0] is not None and tables[1] is not None
    return EdgeSums.from_table(tables[0]), PositionSums.from_table(tables[1])


def test_when_pictures_vanish_a_pass_of_its_own_is_made(
    world: Path, tiny_config: Path, tmp_path: Path
) -> None:
    options = {"store": ("edges",)}
    scanned(world, tiny_config, tmp_path, 9, **options)
    warehouse = scanned(world, tiny_config, tmp_path, 8, **options)
    opened = open_snapshot(Warehouse(warehouse), None)
    assert read_sums(opened.scan, opened.shards, "edges") is None
    done = edges.run(EdgesConfig(warehouse=warehouse, workers=0))
    assert done.images == 8


def test_a_scan_without_them_is_another(world: Path, plain: Path, tiny_config: Path) -> None:
    with pytest.raises(StaleScan, match="stored"):
        scanned(world, tiny_config, plain.parent, store=("edges",))


def test_a_picture_that_is_left_out_is_in_no_sum(
    world: Path, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs.workers import scan as worker

    whole, options = worker._finite, {"store": ("edges", "means")}
    without = scanned(world, tiny_config, tmp_path / "a", 5, shard_size=8, **options)
    calls: list[int] = []

    def last_is_not(found: object, vectors: object) -> torch.Tensor:
        ok = whole(found, vectors)  # type: ignore[arg-type]
        calls.append(len(ok))
        if len(calls) == 2:
            ok[-1] = False
        return ok

    monkeypatch.setattr(worker, "_finite", last_is_not)
    # the sixth picture, the last of the second batch, is rejected
    some = {"shard_size": 8, "max_rejects": "1", **options}
    left = scanned(world, tiny_config, tmp_path / "b", 6, **some)
    assert calls == [4, 2]
    for mine, theirs in zip(_sums(left), _sums(without), strict=True):
        assert mine.count == theirs.count == 5
    for key, value in _sums(without)[1].sums.items():
        np.testing.assert_allclose(_sums(left)[1].sums[key], value, atol=1e-4)
    for layer, of in _sums(without)[0].layers.items():
        found = _sums(left)[0].layers[layer]
        np.testing.assert_allclose(found["products"], of["products"], atol=1e-3)


def test_tables_of_disjoint_pictures_add_up() -> None:
    parts = [PositionSums(n, {("output", 1): np.full((2, 3), float(n))}) for n in (2, 5)]
    merged = PositionSums.from_table(merge_sums(p.to_table() for p in parts))
    assert merged.count == 7
    np.testing.assert_array_equal(merged.sums["output", 1], np.full((2, 3), 7.0))
