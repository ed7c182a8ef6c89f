"""A cluster of several nodes on this machine, and the program run on it from elsewhere."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests import warm

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {"RAY_AUTH_MODE": "disabled"}


class Nodes:
    """A cluster of nodes, held by a process of its own: one session of Ray is all that each has."""

    def __init__(self, cores: Sequence[int]) -> None:
        command = [sys.executable, "-m", "tests.jobs.ray.nodes", *map(str, cores)]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address = self._answer()

    def add(self, cores: int, gpus: int = 0) -> None:
        """Start one more node; its GPUs are believed, not looked for."""
        self._ask(f"add {cores} {gpus}")

    def remove(self) -> None:
        """Kill the first node, with all that runs on it."""
        self._ask("remove")

    def close(self) -> None:
        """End all nodes."""
        self.process.communicate(timeout=60)

    def _ask(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        assert self._answer() == "done"

    def _answer(self) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("> "):
                return line[2:].strip()
        raise AssertionError("the nodes have ended")


@contextmanager
def several_nodes(*cores: int) -> Iterator[Nodes]:
    """Start a head without cores, and a node for each number of cores."""
    nodes = Nodes(cores)
    try:
        yield nodes
    finally:
        nodes.close()


@contextmanager
def autoscaled(cores: int, most: int, every: int) -> Iterator[str]:
    """Start a head without cores whose autoscaler may bring nodes, and looks every so many seconds.

    Ray's own `AutoscalingCluster.start` first ends every Ray on the machine, and not every wheel
    has the configuration that it begins with: it is written here, and this one is ended by the
    folder that its processes name.
    """
    kinds = {
        "late": {
            "resources": {"CPU": cores},
            "node_config": {},
            "min_workers": 0,
            "max_workers": most,
        }
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        path = Path(folder, "autoscaling.json")
        path.write_text(json.dumps(_autoscaling(kinds, address)))
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
        command += [f"--port={port}", "--num-cpus=0", f"--temp-dir={folder}"]
        command += [f"--autoscaling-config={path}", "--include-dashboard=false"]
        own = {"AUTOSCALER_UPDATE_INTERVAL_S": str(every), "RAY_FAKE_CLUSTER": "1"}
        with Path(folder, "head.log").open("w") as log:
            head = subprocess.Popen(
                command, env={**os.environ, **ENVIRONMENT, **own}, stdout=log, stderr=log
            )
        try:
            _until_it_listens(port, head)
            yield address
        finally:
            head.terminate()
            head.wait(timeout=60)
            for process in psutil.process_iter(["cmdline"]):
                if any(folder in word for word in process.info["cmdline"] or ()):
                    process.kill()


def _autoscaling(kinds: dict[str, dict[str, object]], address: str) -> dict[str, object]:
    """Return the configuration of an autoscaler whose nodes are processes of this machine.

    Args:
        kinds: of nodes.
        address: of the head, where Ray would have its nodes look on its usual port.
    """
    steps = ("initialization", "setup", "head_setup", "worker_setup")
    started = ("head_start_ray", "worker_start_ray")
    head = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
    return {
        "cluster_name": "fake_multinode",
        "max_workers": 8,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 0.1,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": address,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "available_node_types": {**kinds, "ray.head.default": head},
        "head_node_type": "ray.head.default",
        "auth": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "rsync_exclude": [],
        "rsync_filter": [],
        **{f"{name}_commands": [] for name in (*steps, *started)},
    }


def _until_it_listens(port: int, head: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + 90
    while time.monotonic() < limit:
        assert head.poll() is None, "the head has ended"
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.5)
    raise AssertionError("the head does not listen")


def _hold(cores: Sequence[int]) -> None:
    """Start the nodes, and do as told on standard input until it ends."""
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    cluster.add_node(num_cpus=0, include_dashboard=False)
    nodes = [cluster.add_node(num_cpus=count) for count in cores]
    try:
        _tell(cluster.address)
        for line in sys.stdin:
            if line.startswith("add"):
                cpus, gpus = map(int, line.split()[1:])
                nodes.append(cluster.add_node(num_cpus=cpus, num_gpus=gpus))
            else:
                cluster.remove_node(nodes.pop(0), allow_graceful=False)
            _tell("done")
    finally:
        cluster.shutdown()


def _tell(text: str) -> None:
    sys.stdout.write(f"> {text}\n")
    sys.stdout.flush()


def program(code: str, *arguments: str, folder: Path) -> warm.Program:
    """Start a driver in a process of its own, in a folder where none of our packages is."""
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    return warm.Program(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


HEADATLAS = "from jobs.cli import main; main()"

# A scan whose worker dies whenever it meets a picture of that name, and is slow.
DYING = """
import os, sys, time
import jobs.steps.scanning as scan
from jobs.cli import main
from jobs.workers.scan import ScanWorker

class Dying(ScanWorker):
    def __call__(self, task):
        time.sleep(float(os.environ.get("SLOWNESS", "0")))
        for member in task.members:
            if os.environ.get("POISON") == member.key:
                os._exit(1)
        return super().__call__(task)

scan.ScanWorker = Dying
main()
"""


def said(text: str, event: str) -> list[dict[str, Any]]:
    """Return the JSON lines of one kind of event."""
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("event") == event]


if __name__ == "__main__":
    _hold([int(text) for text in sys.argv[1:]])
