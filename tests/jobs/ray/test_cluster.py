"""Clusters as they are: nodes of several sizes that come and go, and pictures that kill."""

import time
from pathlib import Path

import numpy as np
import pytest

from jobs.commands import scan
from tests.conftest import scan_config
from tests.jobs.ray.nodes import DYING, program, several_nodes
from tests.jobs.test_scan import assert_equal, everything
from warehouse.files.layout import Warehouse
from warehouse.store import snapshots
from warehouse.store.reading import read_rejects
from warehouse.store.verify import verify


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLOWNESS", "0.4")


@pytest.fixture(scope="session")
def undisturbed(
    world: Path, tiny_config: Path, ray_session: None, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the warehouse of the same scan by two workers of one core that nothing befalls."""
    warehouse = tmp_path_factory.mktemp("undisturbed")
    options = {"shard_size": 12, "batch_size": 4, "workers": 2, "pretrained": "none"}
    scan.run(scan_config(world, tiny_config, warehouse, **options))
    return warehouse


def arguments(world: Path, tiny_config: Path, warehouse: Path, *more: str) -> list[str]:
    given = {
        "--path-column": "img_filename",
        "--labels": "kind",
        "--model": str(tiny_config),
        "--pretrained": "none",
        "--warehouse": str(warehouse),
        "--scan": "s",
        "--shard-size": "12",
        "--batch-size": "4",
    }
    options = [text for pair in given.items() for text in pair]
    return ["scan", str(world), *options, "--no-publish", *more]


def shards_done(warehouse: Path) -> int:
    return len(list(warehouse.glob("scans/s/shards/s*/manifest.json")))


def wait_for(warehouse: Path, shards: int, process: object) -> None:
    limit = time.monotonic() + 120
    while shards_done(warehouse) < shards:
        assert process.poll() is None, process.communicate()  # type: ignore[attr-defined]
        assert time.monotonic() < limit
        time.sleep(0.05)


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("slowly")
def test_a_node_lost_for_good_and_one_added_leave_the_scan_of_an_undisturbed_run(
    world: Path, tiny_config: Path, tmp_path: Path, undisturbed: Path
) -> None:
    """Two one-core nodes; one is lost in mid-scan, and later one joins: every shard is there."""
    with several_nodes(1, 1) as nodes:
        command = arguments(
            world, tiny_config, tmp_path / "w", "--ray-address", nodes.address, "--workers", "2"
        )
        process = program(DYING, *command, folder=tmp_path)
        wait_for(tmp_path / "w", 3, process)
        nodes.remove()
        wait_for(tmp_path / "w", shards_done(tmp_path / "w") + 2, process)
        nodes.add(1)
        _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert_equal(everything(undisturbed), everything(tmp_path / "w"))
    assert shards_done(tmp_path / "w") == 20
    assert verify(Warehouse(tmp_path / "w").scan("s")).problems == ()


@pytest.mark.timeout(240)
def test_a_picture_that_kills_its_worker_is_one_reject_and_all_others_are_stored(
    world: Path,
    tiny_config: Path,
    tmp_path: Path,
    undisturbed: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """rows in = stored + rejects, on a local Ray and a shard of every picture."""
    key = str(everything(undisturbed)["key"][17])
    monkeypatch.setenv("POISON", key)
    command = arguments(world, tiny_config, tmp_path / "w", "--workers", "1")
    command[command.index("--shard-size") + 1] = "240"
    process = program(DYING, *command, folder=tmp_path)
    _, told = process.communicate(timeout=200)
    assert process.returncode == 0, told
    stored_scan = Warehouse(tmp_path / "w").scan("s")
    newest = snapshots.latest(stored_scan)
    assert newest is not None
    assert (newest.images, newest.rejects) == (239, 1)
    rejects = read_rejects(stored_scan, [live.shard for live in newest.shards]).to_pylist()
    assert [(r["key"], r["stage"]) for r in rejects] == [(key, "worker")]
    assert "died 3 times" in rejects[0]["reason"]
    assert verify(stored_scan).problems == ()
    stored, whole = everything(tmp_path / "w"), everything(undisturbed)
    others = whole["key"] != key
    assert stored["key"].tolist() == whole["key"][others].tolist()
    assert stored["image_id"].tolist() == whole["image_id"][others].tolist()
    np.testing.assert_allclose(stored["embedding"], whole["embedding"][others], atol=1e-6)
