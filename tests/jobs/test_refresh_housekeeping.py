"""Nights tidy up by the plan: nothing that is current is made again, and a kill costs nothing."""

import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.commands import refresh
from jobs.commands.pool import import_
from jobs.commands.pool.import_ import PoolImportConfig
from jobs.commands.refresh import RefreshConfig, RefreshResult
from tests import warm
from tests.jobs.test_runs import record
from warehouse.database.query import query
from warehouse.files.layout import Warehouse
from warehouse.store import snapshots
from warehouse.store.housekeeping import FEW
from warehouse.store.runs import read_runs, write_run
from warehouse.store.verify import verify

PICTURES = FEW + 2


def night(plan: dict[str, Any], path: Path) -> RefreshResult:
    path.write_text(yaml.safe_dump(plan))
    return refresh.run(RefreshConfig(plan=path))


@pytest.fixture(scope="module")
def finished(
    world: Path, tiny_config: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Return the plan of a scan of many shards of one picture, that is finished and published."""
    root = tmp_path_factory.mktemp("housekeeping")
    (root / "pictures").mkdir()
    for path in sorted((world.parent / "images").glob("*.png"))[:PICTURES]:
        shutil.copy(path, root / "pictures")
    (root / "t.txt").write_text("a red bird\na blue car\nsnow\n")
    import_.run(PoolImportConfig(file=root / "t.txt", warehouse=root / "w", name="mine"))
    given = {
        "warehouse": str(root / "w"),
        "scan": {
            "source": str(root / "pictures"),
            "model": str(tiny_config),
            "pretrained": "none",
            "scan": "nightly",
            "shard_size": 1,
            "workers": 0,
        },
        "textspan": [{"pool": "mine", "m": 2}],
        "zeroshot": [{"classes": str(root / "t.txt"), "classifier": "things"}],
        "compact": None,
    }
    first = night(given, root / "night.yaml")
    assert first.housekeeping.shards == PICTURES and len(first.made) == 2
    return given


@pytest.fixture
def plan(finished: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Return the plan of a night over a copy of that warehouse that may merge its shards."""
    shutil.copytree(finished["warehouse"], tmp_path / "w", symlinks=True)
    larger = {**finished["scan"], "shard_size": 100}
    return {**finished, "warehouse": str(tmp_path / "w"), "scan": larger, "compact": 0.25}


def contributions(warehouse: Warehouse) -> list[dict[str, object]]:
    return query(
        warehouse,
        "SELECT key, layer, head, vector FROM contributions JOIN images USING (scan_id, image_id) "
        "ORDER BY ALL",
    ).to_pylist()


def results(warehouse: Warehouse) -> dict[Path, int]:
    scan = warehouse.scan("nightly")
    folders = (scan.textspan, scan.classifiers, scan.heads.parent)
    return {p: p.stat().st_mtime_ns for f in folders for p in f.rglob("*.parquet")}


def test_small_shards_are_merged_and_no_result_is_made_again(
    plan: dict[str, Any], tmp_path: Path
) -> None:
    warehouse = Warehouse(tmp_path / "w")
    before, made = contributions(warehouse), results(warehouse)
    plan["keep"] = {"versions": 1, "snapshots": 1, "runs": 2}
    done = night(plan, tmp_path / "night.yaml")
    assert (done.scan.scanned, done.made) == (0, ())
    assert done.published is not None  # it reads the merged shard
    house = done.housekeeping
    assert (house.merged, house.shards) == (PICTURES - 1, 1)
    assert (house.deleted_shards, house.deleted_snapshots) == (PICTURES, 1)
    assert house.freed > 0
    assert contributions(warehouse) == before and results(warehouse) == made
    assert query(warehouse, "SELECT name FROM results WHERE stale").num_rows == 0
    scan = warehouse.scan("nightly")
    assert len(list(scan.shards.iterdir())) == 1 and len(snapshots.numbers(scan)) == 1
    assert len(list(warehouse.versions.glob("*.duckdb"))) == 1
    assert verify(scan).problems == ()
    # and a night with nothing to do does nothing
    still = night(plan, tmp_path / "night.yaml")
    assert (still.made, still.published, still.housekeeping.merged) == ((), None, 0)
    assert (still.housekeeping.deleted_shards, still.housekeeping.freed) == (0, 0)


def test_a_plan_that_keeps_everything_deletes_nothing(plan: dict[str, Any], tmp_path: Path) -> None:
    plan |= {"keep": None, "compact": None}
    scan = Warehouse(tmp_path / "w").scan("nightly")
    before = sorted(scan.shards.iterdir())
    pictures = Path(plan["scan"]["source"])
    shutil.copy(pictures / "000000.png", pictures / "again.png")
    try:
        done = night(plan, tmp_path / "night.yaml")
    finally:
        (pictures / "again.png").unlink()
    assert done.housekeeping.deleted_shards == 0
    assert len(sorted(scan.shards.iterdir())) == len(before) + 1


def test_records_of_runs_are_kept_as_many_as_asked(plan: dict[str, Any], tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "w")
    for day in range(1, 9):
        write_run(warehouse, record(started_at=f"2026-01-0{day}T00:00:00+00:00"))
    plan |= {"keep": {"runs": 3}, "compact": None}
    assert night(plan, tmp_path / "night.yaml").housekeeping.deleted_runs == 5
    assert len(read_runs(warehouse)) == 3


DEATHS = {
    # all small shards are merged, and nothing is committed
    "before they are live": "from warehouse.store import snapshots as s; s.commit = die",
    # snapshots are gone, their shards are there
    "between snapshots and shards": "from warehouse.store import gc as g; g.delete_shard = die",
    "after publishing": "from jobs.steps import housekeeping as h; h.gc.collect = die",
}


@pytest.mark.parametrize("death", DEATHS)
def test_a_night_killed_while_tidying_is_repeated_by_the_next(
    death: str, plan: dict[str, Any], tmp_path: Path
) -> None:
    warehouse, path = Warehouse(tmp_path / "w"), tmp_path / "night.yaml"
    before, made = contributions(warehouse), results(warehouse)
    plan["keep"] = {"versions": 1, "snapshots": 1}
    path.write_text(yaml.safe_dump(plan))
    program = (
        "import os, sys\ndef die(*a, **k): os.kill(os.getpid(), 9)\n"
        f"{DEATHS[death]}\nfrom jobs.cli import main\nmain(['refresh', sys.argv[1]])"
    )
    killed = warm.run([sys.executable, "-c", program, path])
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert [r.outcome for r in read_runs(warehouse)] == ["unfinished"]
    assert contributions(warehouse) == before  # a reader does not notice
    done = night(plan, path)
    assert (done.scan.scanned, done.made) == (0, ())
    assert contributions(warehouse) == before and results(warehouse) == made
    scan = warehouse.scan("nightly")
    assert verify(scan).problems == ()
    assert len(list(scan.shards.iterdir())) == done.housekeeping.shards == 1
