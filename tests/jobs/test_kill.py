"""Invariant 4: SIGKILL anywhere, rerun, and the scan is that of an undisturbed run."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs import cli
from jobs.commands import scan
from jobs.commands.scan import ScanConfig
from tests import warm
from tests.jobs.test_scan import assert_equal, everything
from warehouse.files.layout import Warehouse
from warehouse.store.verify import verify


def options(world: Path, tiny_config: Path, warehouse: Path) -> dict[str, str]:
    return {
        "source": str(world),
        "path_column": "img_filename",
        "model": str(tiny_config),
        "pretrained": "none",
        "warehouse": str(warehouse),
        "scan": "s",
        "shard_size": "8",
        "batch_size": "4",
    }


def arguments(world: Path, tiny_config: Path, warehouse: Path, *more: str) -> list[str]:
    """Return the command of the scan, by a local Ray."""
    given = options(world, tiny_config, warehouse)
    source = given.pop("source")
    spelled = [text for k, v in given.items() for text in (f"--{k.replace('_', '-')}", v)]
    program = "from jobs.cli import main; main()"
    return [sys.executable, "-c", program, "scan", source, *spelled, "--no-publish", *more]


def scan_here(world: Path, tiny_config: Path, warehouse: Path) -> None:
    """Scan, or finish the scan, in this process."""
    scan.run(ScanConfig.checked({**options(world, tiny_config, warehouse), "workers": 0}))


def start(command: list[str]) -> warm.Program:
    return warm.Program(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def finished_shards(warehouse: Path) -> int:
    return len(list(warehouse.glob("scans/s/shards/s*/manifest.json")))


def kill_when(process: warm.Program, warehouse: Path, shards: int, wait: float) -> bool:
    """Kill the driver `wait` seconds after so many shards are there; False when it was faster."""
    while process.poll() is None and finished_shards(warehouse) < shards:
        time.sleep(0.01)
    time.sleep(wait)
    if process.poll() is not None:
        return False
    process.send_signal(signal.SIGKILL)
    process.wait()
    return True


def check(world: Path, tiny_config: Path, folder: Path, moments: list[tuple[int, float]]) -> int:
    """Kill a scan at these moments, finish it, compare; return how many kills hit it running."""
    scan_here(world, tiny_config, folder / "undisturbed")
    disturbed = arguments(world, tiny_config, folder / "disturbed")
    hits = 0
    for shards, wait in moments:
        process = start(disturbed)
        try:
            hits += kill_when(process, folder / "disturbed", shards, wait)
        finally:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
    scan_here(world, tiny_config, folder / "disturbed")
    assert_equal(everything(folder / "undisturbed"), everything(folder / "disturbed"))
    assert verify(Warehouse(folder / "disturbed").scan("s")).problems == ()
    return hits


@pytest.mark.timeout(600)
def test_killed_scans_end_like_an_undisturbed_one(
    world: Path, tiny_config: Path, tmp_path: Path
) -> None:
    assert check(world, tiny_config, tmp_path, [(1, 0.0), (9, 0.03)]) >= 1


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_random_kills(world: Path, tiny_config: Path, tmp_path: Path) -> None:
    rng = random.Random(7)
    moments = [(rng.randrange(0, 31), rng.random() * 0.4) for _ in range(25)]
    assert check(world, tiny_config, tmp_path, moments) >= 5


def test_ctrl_c_says_how_to_go_on_and_leaves_nothing_half_way(
    world: Path, tiny_config: Path, tmp_path: Path
) -> None:
    command = arguments(world, tiny_config, tmp_path / "w", "--workers", "1")
    process = warm.Program(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    while process.poll() is None and finished_shards(tmp_path / "w") < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"run the same command again" in said
    assert b"Traceback" not in said
    scan_here(world, tiny_config, tmp_path / "w")
    assert verify(Warehouse(tmp_path / "w").scan("s")).problems == ()


def test_a_second_writer_is_told_who_the_first_is(
    world: Path, tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = arguments(world, tiny_config, tmp_path / "w", "--workers", "0")
    first = start(command)
    try:
        while first.poll() is None and finished_shards(tmp_path / "w") < 1:
            time.sleep(0.01)
        # it goes on holding its lock for as long as the second takes
        first.send_signal(signal.SIGSTOP)
        with pytest.raises(SystemExit) as second:
            cli.main(command[command.index("scan") :])
        assert second.value.code == 4
        assert str(first.pid) in capsys.readouterr().err
    finally:
        first.kill()
        first.wait()
