"""Programs of their own that start at once: forked from a process that has the libraries loaded.

To start Python with torch and open_clip takes seconds of a core, and the tests start many programs
to kill, to interrupt, or to run from elsewhere. `Program` is `subprocess.Popen` for
`[sys.executable, "-c" or "-m", ...]`: a process with its own folder, environment, streams and exit
status. None of our packages is loaded before the fork, nor Ray: a copy of ours, or a changed one,
is what runs. It ends as Python does, its threads, atexit and streams seen to, but for the
libraries, which are not taken apart: that takes seconds too.
"""

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

LIBRARIES = (
    "torch",
    "open_clip",
    "pyarrow.parquet",
    "duckdb",
    "typer",
    "pydantic",
    "rich.progress",
    "scipy.stats",
    "PIL.Image",
    "jinja2",
)
_LONGEST = 1 << 17


class Program:
    """A running program; what it has of `subprocess.Popen` means the same.

    Raises:
        ValueError: the command is not Python with `-c` or `-m`.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        text: bool = False,
    ) -> None:
        executable, how, *rest = map(str, command)
        if executable != sys.executable or how not in ("-c", "-m"):
            raise ValueError(f"{executable} {how}: only {sys.executable} with -c or -m")
        self.stdout: IO[Any] | None = None
        self.stderr: IO[Any] | None = None
        self.returncode: int | None = None
        self._ended, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        nothing = os.open(os.devnull, os.O_RDWR)
        given = [nothing, nothing, nothing]
        for number, name in ((1, "stdout"), (2, "stderr")):
            wanted = {"stdout": stdout, "stderr": stderr}[name]
            if wanted == subprocess.PIPE:
                read, given[number] = os.pipe()
                setattr(self, name, os.fdopen(read, "r" if text else "rb"))
            elif wanted is None:
                given[number] = os.dup(number)
        asked = {
            "how": how,
            "words": rest,
            "cwd": str(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
        }
        server = _server()
        said = json.dumps(asked).encode()
        socket.send_fds(server, [said], [*given, theirs.fileno()])
        for descriptor in {nothing, *given}:
            os.close(descriptor)
        theirs.close()
        self.pid = int(self._ended.recv(16))

    def poll(self) -> int | None:
        """Return the exit status, or None while the program runs."""
        if self.returncode is None and select.select([self._ended], [], [], 0)[0]:
            self._take()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; return the exit status."""
        if self.returncode is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a program", timeout or 0)
            self._take()
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[Any, Any]:
        """Read both streams to their ends and wait."""
        until = None if timeout is None else time.monotonic() + timeout
        buffers: dict[Any, list[bytes]] = {s: [] for s in (self.stdout, self.stderr) if s}
        left = list(buffers)
        while left:
            rest = None if until is None else max(until - time.monotonic(), 0)
            ready, _, _ = select.select(left, [], [], rest)
            if not ready:
                raise subprocess.TimeoutExpired("a program", timeout or 0)
            for stream in ready:
                part = os.read(stream.fileno(), 1 << 16)
                buffers[stream].append(part)
                if not part:
                    left.remove(stream)
        self.wait(timeout)
        return self._told(self.stdout, buffers), self._told(self.stderr, buffers)

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the program has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL, unless the program has ended."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self.wait()

    @staticmethod
    def _told(stream: IO[Any] | None, buffers: Mapping[Any, list[bytes]]) -> str | bytes | None:
        if stream is None:
            return None
        found = b"".join(buffers[stream])
        stream.close()
        return found.decode() if isinstance(stream, io.TextIOBase) else found

    def _take(self) -> None:
        said = self._ended.recv(16)
        self._ended.close()
        if not said:
            raise ChildProcessError("what the programs are forked from has ended")
        self.returncode = int(said)


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    text: bool = False,
    timeout: float = 300,
    check: bool = False,
) -> subprocess.CompletedProcess[Any]:
    """Run a program to its end, as `subprocess.run` with `capture_output` does."""
    pipe = subprocess.PIPE
    program = Program(command, cwd=cwd, env=env, stdout=pipe, stderr=pipe, text=text)
    try:
        out, err = program.communicate(timeout)
    finally:
        program.kill()
    assert program.returncode is not None
    done = subprocess.CompletedProcess([*map(str, command)], program.returncode, out, err)
    if check:
        done.check_returncode()
    return done


_SERVERS: list[socket.socket] = []
_ADDRESS = "TESTS_WARM_SOCKET"


def share(folder: Path) -> None:
    """Start the process that forks, for this process and all that it starts.

    Args:
        folder: for the socket by which they reach it.
    """
    address = str(folder / "socket")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen()
    os.environ[_ADDRESS] = address
    _SERVERS.append(_started(listener))
    listener.close()


def _server() -> socket.socket:
    """Return the connection to the process that forks: the one that is shared, or one's own."""
    if not _SERVERS:
        if _ADDRESS in os.environ:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            connection.connect(os.environ[_ADDRESS])
            atexit.register(connection.close)
        else:
            connection = _started()
        _SERVERS.append(connection)
    return _SERVERS[0]


def _started(*listening: socket.socket) -> socket.socket:
    """Start the process that forks, until this one ends; return the connection to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    given = [each.fileno() for each in (theirs, *listening)]
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__)), *map(str, given)],
        pass_fds=given,
        stdin=subprocess.DEVNULL,
    )
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _serve(owner: socket.socket, *listening: socket.socket) -> dict[str, Any] | None:
    """Fork a program for each request: return it in the child, and None when the owner ends."""
    connections = [owner]
    running: dict[int, tuple[int, socket.socket]] = {}
    while True:
        ready, _, _ = select.select([*listening, *connections, *running], [], [])
        for descriptor in ready:
            if descriptor in running:
                pid, told = running.pop(descriptor)
                os.close(descriptor)
                _, status = os.waitpid(pid, 0)
                _tell(told, os.waitstatus_to_exitcode(status))
                told.close()
        connections += [listener.accept()[0] for listener in listening if listener in ready]
        for connection in [c for c in connections if c in ready]:
            said, descriptors, _, _ = socket.recv_fds(connection, _LONGEST, 4)
            if not said and connection is owner:
                return None
            if not said:
                connections.remove(connection)
                connection.close()
                continue
            pid = os.fork()
            if pid == 0:
                _close([*listening, *connections], running)
                for number in range(3):
                    os.dup2(descriptors[number], number)
                for descriptor in descriptors:
                    os.close(descriptor)
                return dict(json.loads(said))
            told = socket.socket(fileno=descriptors[3])
            for descriptor in descriptors[:3]:
                os.close(descriptor)
            _tell(told, pid)
            running[os.pidfd_open(pid)] = pid, told


def _tell(program: socket.socket, number: int) -> None:
    """Send a number to whoever started a program, if it is still there."""
    with contextlib.suppress(ConnectionError):
        program.send(str(number).encode())


def _close(
    sockets: Sequence[socket.socket], running: Mapping[int, tuple[int, socket.socket]]
) -> None:
    """Close, in a program, what is the server's."""
    for each in sockets:
        each.close()
    for descriptor, (_, told) in running.items():
        os.close(descriptor)
        told.close()


def _become(request: Mapping[str, Any]) -> None:
    """Run what was asked for as Python does: module __main__, path, arguments, environment."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    ours = str(Path(__file__).parent)
    paths = [p for p in request["env"].get("PYTHONPATH", "").split(os.pathsep) if p]
    first = request["cwd"] if request["how"] == "-m" else ""
    sys.path[:] = [first, *paths, *(p for p in sys.path if p != ours)]
    what, *words = request["words"]
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        if request["how"] == "-m":
            sys.argv = ["-m", *words]
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            sys.argv = ["-c", *words]
            exec(compile(what, "<string>", "exec"), vars(main))
        _STATUS.append(0)
    except SystemExit as end:
        _STATUS.append(end.code if isinstance(end.code, int) else int(end.code is not None))
        raise
    except Exception:
        _STATUS.append(1)
        raise


_STATUS: list[int] = []


def _leave() -> None:
    """End, as the last of atexit; what Ctrl-C or a closed stream ended is left to Python."""
    if _STATUS:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(_STATUS[0])
    gc.unfreeze()


def _load() -> None:
    """Load the libraries, where no program's collection of garbage looks through them."""
    gc.disable()
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()
    gc.enable()


if __name__ == "__main__":
    atexit.register(_leave)
    _load()
    found = _serve(*(socket.socket(fileno=int(number)) for number in sys.argv[1:]))
    if found is None:
        # without DuckDB's word on what it has not freed
        os._exit(0)
    _become(found)
