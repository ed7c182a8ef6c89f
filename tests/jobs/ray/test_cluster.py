"""Clusters as they are: nodes of several sizes that come and go, and pictures that kill."""

import time
from pathlib import Path

import numpy as np
import pytest

from demo.world import materialise
from jobs.commands import scan
from tests.conftest import scan_config
from tests.jobs.ray.nodes import DYING, HEADATLAS, autoscaled, program, said, several_nodes
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


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("slowly", "ray_session")
def test_three_nodes_and_600_pictures_one_node_lost_and_one_added(
    tiny_config: Path, tmp_path: Path
) -> None:
    """rc 0, every shard there, and every number that of a run that nothing befell."""
    listing = materialise("test", tmp_path / "pictures", 600)
    options = {"shard_size": 12, "batch_size": 4, "workers": 2, "pretrained": "none"}
    scan.run(scan_config(listing, tiny_config, tmp_path / "calm", **options))
    with several_nodes(1, 1, 1) as nodes:
        command = arguments(
            listing, tiny_config, tmp_path / "w", "--ray-address", nodes.address, "--workers", "3"
        )
        process = program(DYING, *command, folder=tmp_path)
        wait_for(tmp_path / "w", 10, process)
        nodes.remove()
        wait_for(tmp_path / "w", shards_done(tmp_path / "w") + 8, process)
        nodes.add(1)
        _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    assert shards_done(tmp_path / "w") == 50
    assert_equal(everything(tmp_path / "calm"), everything(tmp_path / "w"))
    assert verify(Warehouse(tmp_path / "w").scan("s")).problems == ()


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("slowly")
def test_a_killed_driver_is_followed_by_one_elsewhere_and_our_packages_travel(
    world: Path, tiny_config: Path, tmp_path: Path, undisturbed: Path
) -> None:
    """Workers import the packages that travelled with the driver, not what is installed."""
    where = """
import sys
from jobs.ray.cluster import cluster
from jobs.ray.pool import RayPool
from jobs.ray.tasks import Work

class Where:
    done = 0
    def __init__(self, cpus): pass
    def __call__(self, task):
        import jobs, pipeline, warehouse
        return [m.__file__ for m in (jobs, pipeline, warehouse)]

found = []
with cluster(sys.argv[1]) as session:
    work = Work(Where, [1], finished=found.extend, advanced=lambda n: None)
    failures = RayPool(session, 1, None, 1).run(work)
assert not failures, failures
assert len(found) == 3 and all("py_modules" in path for path in found), found
"""
    with several_nodes(1, 1) as nodes:
        command = arguments(
            world, tiny_config, tmp_path / "w", "--ray-address", nodes.address, "--workers", "2"
        )
        first = program(DYING, *command, folder=tmp_path)
        wait_for(tmp_path / "w", 5, first)
        first.kill()
        first.communicate()
        (tmp_path / "elsewhere").mkdir()
        second = program(DYING, *command, folder=tmp_path / "elsewhere")
        _, told = second.communicate(timeout=200)
        third = program(where, nodes.address, folder=tmp_path)
        _, why = third.communicate(timeout=100)
    assert second.returncode == 0, told
    assert any("resuming" in note["text"] for note in said(told, "note"))
    assert third.returncode == 0, why
    assert_equal(everything(undisturbed), everything(tmp_path / "w"))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_late_nodes_are_waited_for_aloud_and_nodes_without_gpu_hold_no_task(tmp_path: Path) -> None:
    """Wanted: GPUs. There is a node of two cores, then one with a GPU, then a second such one."""
    code = """
import sys, time
from jobs.ray import pool
from jobs.ray.cluster import cluster
from jobs.ray.tasks import Work

pool.SILENCE = 3.0

class Where:
    done = 0
    def __init__(self, cpus): self.cpus = cpus
    def __call__(self, task):
        import ray
        time.sleep(0.5)
        return ray.get_runtime_context().get_node_id(), self.cpus

found = []
with cluster(sys.argv[1]) as session:
    workers = pool.RayPool(session, None, 1.0, 80)
    work = Work(Where, range(80), finished=found.append, advanced=lambda n: None)
    failures = workers.run(work)
assert not failures, failures
assert len(found) == 80
assert {cpus for _, cpus in found} == {1, 2}, found
assert len({node for node, _ in found}) == 2, found
"""
    with several_nodes(2) as nodes:
        driver = program(code, nodes.address, folder=tmp_path)
        time.sleep(15)
        assert driver.poll() is None
        nodes.add(2, gpus=1)
        time.sleep(8)
        nodes.add(1, gpus=1)
        _, told = driver.communicate(timeout=120)
    assert driver.returncode == 0, told
    waits = [line["text"] for line in said(told, "warning")]
    assert any("wait for a node" in text and "each needs 1 GPU" in text for text in waits), told


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_an_autoscaler_that_takes_its_time_is_waited_for_aloud_and_its_node_is_used(
    world: Path, tiny_config: Path, tmp_path: Path, undisturbed: Path
) -> None:
    """A head without cores; nodes are brought on demand, the first after half a minute and more."""
    with autoscaled(cores=1, most=2, every=75) as address:
        command = arguments(
            world, tiny_config, tmp_path / "w", "--ray-address", address, "--workers", "2"
        )
        process = program(HEADATLAS, *command, folder=tmp_path)
        _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    waits = [line["text"] for line in said(told, "warning")]
    assert any("wait for a node" in text and "there is none" in text for text in waits), told
    assert_equal(everything(undisturbed), everything(tmp_path / "w"))


@pytest.mark.slow
@pytest.mark.timeout(400)
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
    assert "lost 3 times" in rejects[0]["reason"]
    assert verify(stored_scan).problems == ()
    stored, whole = everything(tmp_path / "w"), everything(undisturbed)
    others = whole["key"] != key
    assert stored["key"].tolist() == whole["key"][others].tolist()
    assert stored["image_id"].tolist() == whole["image_id"][others].tolist()
    np.testing.assert_allclose(stored["embedding"], whole["embedding"][others], atol=1e-6)
