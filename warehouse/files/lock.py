"""One writer per scan: a lock that names its holder and is released by the OS with its process.

A courtesy that saves work: correctness rests on shards and snapshots being created exclusively.
Readers need no lock.
"""

import errno
import fcntl
import getpass
import json
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from schemas.errors import Locked
from warehouse.files.layout import ScanDir

_log = logging.getLogger(__name__)


@contextmanager
def scan_lock(scan: ScanDir) -> Iterator[None]:
    """Hold the scan's lock.

    A file system without locks is written to all the same, with a warning.

    Raises:
        Locked: another process, or another holder in this one, has it; the message names it.
    """
    scan.path.mkdir(parents=True, exist_ok=True)
    with scan.lock.open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(
                f"scan {scan.name!r} is being written by {_holder(scan.lock)}; "
                "wait for it to end, or stop it"
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP):
                raise
            _log.warning("%s: this file system has no locks; run one writer at a time", scan.lock)
        stream.seek(0)
        stream.truncate()
        stream.write(json.dumps(_this_process()) + "\n")
        stream.flush()
        yield


def _this_process() -> dict[str, object]:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "user": user,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200],
    }


def _holder(path: Path) -> str:
    """Describe the holder in words; it may have taken the lock but not yet written its name."""
    try:
        named = json.loads(path.read_text(encoding="utf-8"))
        return (
            f"process {named['pid']} of {named['user']} on {named['host']} "
            f"since {named['started']} ({named['command']})"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return "a process that has not named itself yet"
