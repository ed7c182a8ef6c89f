"""Invariant 4: SIGKILL anywhere, rerun, and the scan is that of an undisturbed run."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.jobs.test_scan import assert_equal, everything
from warehouse.files.layout import Warehouse
from warehouse.store.verify import verify


def arguments(world: Path, tiny_config: Path, warehouse: Path) -> list[str]:
    given = {
        "--path-column": "img_filename",
        "--model": str(tiny_config),
        "--pretrained": "none",
        "--warehouse": str(warehouse),
        "--scan": "s",
        "--shard-size": "8",
        "--batch-size": "4",
    }
    options = [text for pair in given.items() for text in pair]
    program = "from jobs.cli import main; main()"
    return [sys.executable, "-c", program, "scan", str(world), *options, "--no-publish"]


def start(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def finished_shards(warehouse: Path) -> int:
    return len(list(warehouse.glob("scans/s/shards/s*/manifest.json")))


def kill_when(process: subprocess.Popen[bytes], warehouse: Path, shards: int, wait: float) -> bool:
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
    undisturbed = arguments(world, tiny_config, folder / "undisturbed")
    subprocess.run(undisturbed, check=True, capture_output=True, timeout=300)
    disturbed = arguments(world, tiny_config, folder / "disturbed")
    hits = 0
    for shards, wait in moments:
        process = start(disturbed)
        try:
            hits += kill_when(process, folder / "disturbed", shards, wait)
        finally:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
    subprocess.run(disturbed, check=True, capture_output=True, timeout=300)
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
    command = arguments(world, tiny_config, tmp_path / "w")
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    while process.poll() is None and finished_shards(tmp_path / "w") < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"run the same command again" in said
    assert b"Traceback" not in said
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    assert verify(Warehouse(tmp_path / "w").scan("s")).problems == ()


def test_a_second_writer_is_told_who_the_first_is(
    world: Path, tiny_config: Path, tmp_path: Path
) -> None:
    command = arguments(world, tiny_config, tmp_path / "w")
    first = start(command)
    try:
        while first.poll() is None and finished_shards(tmp_path / "w") < 1:
            time.sleep(0.01)
        second = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert second.returncode == 4
        assert str(first.pid) in second.stderr
    finally:
        first.kill()
        first.wait()
