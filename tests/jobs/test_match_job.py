"""`headatlas match` and `drift`: heads found again in another scan, and moved between snapshots."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.match import judged
from jobs.commands import drift, match, publish, scan
from jobs.commands.drift import DriftConfig
from jobs.commands.match import MatchConfig
from jobs.commands.publish import PublishConfig
from jobs.steps.attributes import attributes_path, store_attributes
from jobs.steps.opened import open_scan
from pipeline.towers.models import load_model
from schemas.errors import UnknownName, UsageError
from schemas.names import head_name
from schemas.results.head_matches import KIND
from tests.conftest import scan_config
from tests.cue import plant
from tests.permuted import permuted_heads
from tests.pipeline.heads.test_drift import literal
from tests.pipeline.heads.test_similarity import literal_cka
from warehouse.database.query import query
from warehouse.files.layout import Warehouse
from warehouse.results.claims import Now, in_words
from warehouse.results.files import read_provenance, read_result
from warehouse.store.reading import read_head

PICTURES = 48


@pytest.fixture(scope="module")
def listed(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of a few of the world's pictures."""
    folder = tmp_path_factory.mktemp("match") / "pictures"
    folder.mkdir()
    for path in sorted((world.parent / "images").glob("*.png"))[:PICTURES]:
        shutil.copy(path, folder)
    return folder


def scanned(source: Path, tiny_config: Path, warehouse: Path, name: str, **options: object) -> None:
    given = {"path_column": None, "labels": None, "shard_size": 20, "workers": 0, **options}
    scan.run(scan_config(source, tiny_config, warehouse, scan=name, **given))


@pytest.fixture(scope="module")
def two(world: Path, tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """Return a warehouse of a tower and of the same with its heads shuffled, and the orders."""
    root = tmp_path_factory.mktemp("two")
    listing = root / "listing.csv"
    listing.write_text("\n".join(world.read_text().splitlines()[: 1 + PICTURES]))
    given = {"path_column": "img_filename", "labels": "kind", "root": str(world.parent)}
    state = load_model(str(tiny_config), "none").clip.state_dict()
    shuffled, orders = permuted_heads(state, 3, seed=5)
    assert any(order != [0, 1, 2] for order in orders)
    path = root / "shuffled.pt"
    torch.save(shuffled, path)
    scanned(listing, tiny_config, root / "w", "one", **given)
    # other shards, so that pictures do not stand in the same places
    given |= {"pretrained": str(path), "shard_size": 17}
    scanned(listing, tiny_config, root / "w", "two", **given)
    done = match.run(MatchConfig(warehouse=root / "w", scan_a="one", scan_b="two"))
    publish.run(PublishConfig(warehouse=root / "w"))
    return root / "w", orders, done


def vectors(root: Path, name: str, layer: int, head: int) -> np.ndarray:
    """Return a head's vectors by key."""
    found = open_scan(Warehouse(root), name)
    keys = found.images(["key"])["key"].to_pylist()
    _, rows = read_head(found.scan, found.shards, layer, head)
    return rows[np.argsort(keys)].astype(np.float64)


def test_every_head_of_a_shuffled_tower_is_found_again(two: tuple) -> None:
    root, orders, done = two
    expected = {
        head_name(layer, old): head_name(layer, new)
        for layer, order in enumerate(orders)
        for new, old in enumerate(order)
    }
    assert {m.head: m.other for m in done.matches} == expected
    assert done.images == PICTURES and not done.reused
    assert all(m.mutual and m.cka == pytest.approx(1, abs=1e-4) for m in done.matches)
    assert all(m.q_value < 1e-6 and m.chance < 0.5 for m in done.matches)
    rows = query(Warehouse(root), "FROM head_matches WHERE scan_id = 'two'").to_pylist()
    assert {row["other_name"]: row["name"] for row in rows} == expected
    assert all(row["assigned"] == row["other_name"] and not row["stale"] for row in rows)
    assert match.run(MatchConfig(warehouse=root, scan_a="two", scan_b="one")).reused


def test_matched_heads_of_a_shuffled_tower_mean_the_same(two: tuple) -> None:
    """The judgement of `python -m benchmarks match`."""
    warehouse, done = Warehouse(two[0]), two[2]
    for name in ("one", "two"):
        store_attributes(open_scan(warehouse, name))
    matched, chance, heads = judged(warehouse, done, 0.0)
    assert (matched, heads) == (1, 9) and chance < 1
    strong = judged(warehouse, done, 0.2)[2]
    rows = read_result(attributes_path(warehouse.scan("one")))[0].to_pylist()
    assert strong == len({(r["layer"], r["head"]) for r in rows if r["r2"] >= 0.2})


def test_cka_of_a_match_is_the_literal_one(two: tuple) -> None:
    root, _, done = two
    for row in read_result(done.paths[0])[0].to_pylist()[:4]:
        one = vectors(root, "one", row["layer"], row["head"])
        other = vectors(root, "two", row["other_layer"], row["other_head"])
        assert row["cka"] == pytest.approx(literal_cka(one, other), abs=1e-10)


def test_heads_of_drawn_scans_match_by_chance_alone(tmp_path: Path) -> None:
    """Vectors of the two are drawn apart: but for the heads that cheat, q-values are large."""
    first = plant(tmp_path, "first", pictures=120)
    plant(tmp_path, "second", pictures=120, seed=9)
    done = match.run(MatchConfig(warehouse=first.root, scan_a="first", scan_b="second"))
    assert len(done.matches) == 12
    assert min(m.q_value for m in done.matches) > 0.01
    assert np.mean([m.cka / m.chance for m in done.matches]) < 3


def test_only_shared_keys_are_counted_and_growth_of_the_other_is_seen(
    listed: Path, tiny_config: Path, tmp_path: Path
) -> None:
    some = tmp_path / "some"
    shutil.copytree(listed, some)
    for path in sorted(some.iterdir())[:8]:
        path.unlink()
    root = tmp_path / "w"
    scanned(some, tiny_config, root, "some")
    scanned(listed, tiny_config, root, "all")
    done = match.run(MatchConfig(warehouse=root, scan_a="some", scan_b="all"))
    assert done.images == PICTURES - 8
    # one model: each head is its own most alike
    assert all(m.head == m.other and m.cka == pytest.approx(1, abs=1e-6) for m in done.matches)
    shutil.copy(sorted(listed.iterdir())[0], some)
    scanned(some, tiny_config, root, "some")
    now = Now.of(Warehouse(root).scan("all"))
    broken = now.broken(KIND, read_provenance(done.paths[1]))
    assert in_words(broken) == "1 new picture in scan some"
    again = match.run(MatchConfig(warehouse=root, scan_a="some", scan_b="all", sample=30))
    assert (again.images, again.reused) == (30, False)


def test_scans_that_share_nothing_are_refused(two: tuple, tmp_path: Path) -> None:
    root = two[0]
    with pytest.raises(UsageError, match="expected two scans"):
        match.run(MatchConfig(warehouse=root, scan_a="one", scan_b="one"))
    with pytest.raises(UnknownName, match="no scan 'three'"):
        match.run(MatchConfig(warehouse=root, scan_a="one", scan_b="three"))
    plant(tmp_path, "drawn", pictures=20)
    shutil.copytree(root / "scans" / "one", tmp_path / "scans" / "one")
    with pytest.raises(
        UsageError, match=r"share 0 keys \(as '00000.png' and 'images/000000.png'\)"
    ):
        match.run(MatchConfig(warehouse=tmp_path, scan_a="drawn", scan_b="one"))


def test_drift_between_snapshots_is_that_of_their_vectors(
    listed: Path, tiny_config: Path, tmp_path: Path
) -> None:
    folder, root = tmp_path / "pictures", tmp_path / "w"
    shutil.copytree(listed, folder)
    for path in sorted(folder.iterdir())[20:]:
        path.unlink()
    scanned(folder, tiny_config, root, "s")
    with pytest.raises(UsageError, match=r"no earlier snapshot with other pictures \(there is 1\)"):
        drift.run(DriftConfig(warehouse=root))
    before = {key: vectors(root, "s", *key) for key in ((0, 1), (2, 2))}
    shutil.copytree(listed, folder, dirs_exist_ok=True)
    scanned(folder, tiny_config, root, "s")
    done = drift.run(DriftConfig(warehouse=root))
    assert (done.since, done.snapshot, len(done.heads)) == (1, 2, 9) and done.why is not None
    assert drift.run(DriftConfig(warehouse=root, since=1)).why is None
    found = {one.head: one for one in done.heads}
    for key, rows in before.items():
        moved = found[head_name(*key)]
        assert (moved.drift, moved.mean_shift, moved.variance_ratio) == pytest.approx(
            literal(rows, vectors(root, "s", *key)), rel=1e-5
        )
    assert done.heads[0].drift == max(one.drift or 0 for one in done.heads)
    with pytest.raises(UnknownName, match="no snapshot before 2 called '7'; there is 1"):
        drift.run(DriftConfig(warehouse=root, since=7))
