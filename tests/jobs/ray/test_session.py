"""A session of Ray: whom it listens to, what it imports, and an address where none is."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from jobs import cli
from jobs.commands import scan
from schemas.errors import UsageError
from tests import warm
from tests.conftest import scan_config
from tests.jobs.ray.nodes import HEADATLAS, ROOT, program, said
from tests.jobs.ray.test_cluster import arguments, wait_for
from tests.jobs.test_scan import assert_equal, everything

LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")


@pytest.fixture
def beside(world: Path, tmp_path: Path) -> Path:
    """A person's folder: pictures, and files that are called like our packages."""
    (tmp_path / "pictures").symlink_to(world.parent)
    for name in ("jobs", "warehouse", "demo"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('this is not headatlas')\n")
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "__init__.py").write_text("raise SystemExit('nor is this')\n")
    return tmp_path


def test_a_local_run_listens_on_loopback_alone_and_imports_nothing_beside_the_pictures(
    beside: Path, tiny_config: Path
) -> None:
    """Every address that any process of a local run listens on is this machine's own."""
    command = arguments(Path("pictures/metadata.csv"), tiny_config, Path("w"), "--workers", "1")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = warm.Program(
        [sys.executable, "-m", "headatlas", *command],
        cwd=beside,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    listening: set[tuple[str, int]] = set()
    while process.poll() is None:
        family = {one.pid for one in _family(process.pid)}
        for connection in psutil.net_connections("inet"):
            if connection.pid in family and connection.status == psutil.CONN_LISTEN:
                listening.add((connection.laddr.ip, connection.laddr.port))
        time.sleep(1.0)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert len(listening) >= 4
    assert {address for address, _ in listening} <= set(LOOPBACK), listening


def _family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return []


@pytest.fixture
def deaf() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("", 0))
        listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_dead_address_is_one_line_that_names_where_it_came_from(
    world: Path, tiny_config: Path, tmp_path: Path, deaf: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (arguments(world, tiny_config, tmp_path / name) for name in ("w", "v"))
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    # an option is stronger than the variable
    asked = (one, [*other, "--ray-address", deaf])
    drivers = [program(HEADATLAS, *given, folder=tmp_path) for given in asked]
    for driver, named in zip(drivers, ("RAY_ADDRESS=127.0.0.1:1", "--ray-address"), strict=True):
        started = time.monotonic()
        _, told = driver.communicate(timeout=100)
        assert time.monotonic() - started < 45
        assert driver.returncode == 2, told
        assert named in told
        assert "Traceback" not in told


def test_this_process_scans_as_a_worker_of_ray_does_and_ray_is_not_imported(
    ray_session: None, world: Path, tiny_config: Path, tmp_path: Path, scanned: Path
) -> None:
    scan.run(scan_config(world, tiny_config, tmp_path / "there", workers=1))
    assert_equal(everything(scanned), everything(tmp_path / "there"))
    code = "import sys; from jobs.cli import main\n"
    code += "try: main()\nfinally: assert 'ray' not in sys.modules"
    chosen = arguments(world, tiny_config, tmp_path / "chosen")
    chosen[chosen.index("--shard-size") + 1] = "240"
    driver = program(code, *chosen, folder=tmp_path)
    _, told = driver.communicate(timeout=100)
    assert driver.returncode == 0, told
    assert any("in this process" in note.get("text", "") for note in said(told, "note"))


def test_more_workers_than_there_is_room_for_is_one_line(
    ray_session: None, world: Path, tiny_config: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="workers 99") as caught:
        scan.run(scan_config(world, tiny_config, tmp_path / "w", workers=99))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_this_process_can_be_interrupted_and_goes_on(
    world: Path, tiny_config: Path, tmp_path: Path, number: signal.Signals
) -> None:
    command = arguments(world, tiny_config, tmp_path / "w", "--workers", "0")
    driver = program(HEADATLAS, *command, folder=tmp_path)
    wait_for(tmp_path / "w", 1, driver)
    driver.send_signal(number)
    _, told = driver.communicate(timeout=60)
    if driver.returncode != 0:  # it may have been faster
        assert driver.returncode == 130, told
        assert "run the same command again" in told
        assert "Traceback" not in told
    with pytest.raises(SystemExit) as again:
        cli.main(command)
    assert again.value.code == 0
