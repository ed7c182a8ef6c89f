"""A Ray session: one of an operator's cluster, or a local one that nobody else can reach."""

import contextlib
import importlib.util
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants, services

from jobs.ray.nodes import Node
from schemas.errors import UsageError

PACKAGES = ("schemas", "pipeline", "warehouse", "demo", "jobs", "headatlas")
HOME = Path(__file__).resolve().parents[2]
HEAPS = {"MALLOC_ARENA_MAX": "2"}
LOCAL_OBJECT_STORE = 256 * 2**20
# Seconds that a cluster's address has to accept a connection, and then to answer.
CONNECT_SECONDS = 8.0
ANSWER_SECONDS = 15.0


@dataclass(frozen=True)
class Session:
    """A connection to Ray.

    Attributes:
        grows: whether nodes may come and go: no local session's do.
    """

    grows: bool

    def nodes(self) -> list[Node]:
        """Return the nodes that live now and have cores for us."""
        found = []
        for node in ray.nodes():  # type: ignore[no-untyped-call]
            has = node["Resources"]
            if node["Alive"] and has.get("CPU", 0) >= 1:
                name = f"{node['NodeManagerAddress']} ({node['NodeID'][:6]})"
                cpus, gpus = int(has["CPU"]), float(has.get("GPU", 0))
                found.append(Node(node["NodeID"], name, cpus, gpus))
        return sorted(found, key=lambda n: n.id)


@contextmanager
def cluster(address: str | None) -> Iterator[Session]:
    """Connect to a cluster, or start a local one; a session that is already there is used.

    A local one listens on 127.0.0.1 alone.

    Raises:
        UsageError: there is no cluster at `address`, or at RAY_ADDRESS.
    """
    if ray.is_initialized():
        node: Any = ray._private.worker._global_node
        # one that this process has started, and not connected to, is this machine alone
        yield Session(grows=not (node is not None and node.head))
        return
    variable = os.environ.get("RAY_ADDRESS")
    named = f"--ray-address {address}" if address else f"RAY_ADDRESS={variable}"
    address = address or variable
    if address == "local":
        address = None
    packages = _packages()
    _prepare_environment()
    options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if address:
        _require_answer(address, named)
        runtime = {"py_modules": packages, "env_vars": HEAPS}
        options |= {"address": address, "runtime_env": runtime}
    else:
        options |= {
            "address": "local",
            "include_dashboard": False,
            "object_store_memory": LOCAL_OBJECT_STORE,
        }
    try:
        alone = address is None
        with _own_signals(), _own_folder(alone=alone), _on_loopback(alone=alone):
            ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError, ImportError) as error:
        raise _none_there(named if address else "this machine", str(error)) from error
    try:
        yield Session(grows=address is not None)
    finally:
        ray.shutdown()


def _prepare_environment() -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # accelerators stay visible to actors that take none: a worker itself says what it runs on
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # a submitted job may have an environment of its own beside ours
    os.environ.setdefault("RAY_OVERRIDE_JOB_RUNTIME_ENV", "1")
    # decoding threads would each keep a heap of their own, which grows with the data set
    for name, value in HEAPS.items():
        os.environ.setdefault(name, value)


def _packages() -> list[str]:
    """Return the folders of our packages, which travel to workers elsewhere.

    Raises:
        UsageError: something else is imported under such a name.
    """
    found = []
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin is None or origin.parent != HOME / name:
            raise UsageError(
                f"`import {name}` finds {origin}, which is not HeadAtlas's own {HOME / name}: "
                "rename it, or start in another folder"
            )
        found.append(str(HOME / name))
    return found


def _none_there(named: str, why: str) -> UsageError:
    remedy = "give the head's address, as HOST:6379, or leave --ray-address out to run here"
    if named.startswith("RAY_ADDRESS"):
        remedy = "unset RAY_ADDRESS to run here, or set it to a living head's HOST:6379"
    return UsageError(f"{named}: no Ray cluster there: {' '.join(why.split())[:200]}; {remedy}")


def _require_answer(address: str, named: str) -> None:
    """Check, within half a minute, that a cluster answers; Ray itself tries for minutes.

    Raises:
        UsageError: it does not.
    """
    scheme, _, rest = address.rpartition("://")
    if not scheme and ":" in rest:
        # as Ray will: it turns this machine's loopback into its outer address
        rest = services.canonicalize_bootstrap_address(rest) or rest
    host, _, port = rest.partition("/")[0].rpartition(":")
    if not host or not port.isdigit():
        # `auto` and the like: Ray finds out by itself, and at once
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _none_there(named, f"nothing listens ({error})") from None
    if scheme:
        return
    answer: list[object] = []

    def ask() -> None:
        with contextlib.suppress(Exception):
            answer.append(ray._raylet.GcsClient(address=rest))  # type: ignore[attr-defined]

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(ANSWER_SECONDS)
    if not answer:
        raise _none_there(named, "what listens there is no Ray head, or does not answer")


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep our handlers: Ray's end the process before anything can be said."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _own_folder(*, alone: bool) -> Iterator[None]:
    """Start a local Ray in our packages' parent folder; connect to a cluster from an empty one.

    Workers import from the driver's current folder before all others, then from its script's: a
    `jobs.py` beside the person's pictures would be taken for ours, and on a cluster whatever lies
    under the same path there for the packages that travel.
    """
    script = sys.argv[:1]
    with tempfile.TemporaryDirectory(prefix="headatlas-") as empty:
        folder = HOME if alone else Path(empty)
        sys.argv[:1] = [str(folder / "headatlas" / "headatlas")]
        try:
            with contextlib.chdir(folder):
                yield
        finally:
            sys.argv[:1] = script


@contextmanager
def _on_loopback(*, alone: bool) -> Iterator[None]:
    """Make a local Ray's processes listen on 127.0.0.1 and not on every interface.

    They bind to loopback when the node's own address is one; Ray turns 127.0.0.1, given as an
    option, into the machine's outer address, unless told that this is no cluster.
    """
    name = "ENABLE_RAY_CLUSTER"
    before = getattr(ray_constants, name, None)
    if not alone or before is None:
        yield
        return
    setattr(ray_constants, name, False)
    try:
        yield
    finally:
        setattr(ray_constants, name, before)
