"""The record that every command that writes leaves in WAREHOUSE/runs/.

It is written when the command starts, as unfinished, and replaced when it ends; so a run that was
killed shows as unfinished. What it says is taken from the command's result: each number in it by
its name, and nothing that was typed, so no path and no password.
"""

import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from jobs import console
from schemas.addresses import text_without_credentials
from schemas.errors import HeadAtlasError
from schemas.manifest import Timing, digest
from schemas.runs import OUTCOMES, RunRecord
from warehouse.files.layout import Warehouse
from warehouse.store.runs import write_run

LIBRARIES = ("headatlas", "torch", "open_clip_torch", "ray", "duckdb", "pyarrow", "numpy")
INTERRUPTED = 130
# Characters of a message that are kept.
LONG = 1_000


class Recording:
    """The record of the run that is going on."""

    def __init__(self, command: str, configuration: str) -> None:
        """Begin: the run has started now."""
        self._clock = time.perf_counter()
        self.record = RunRecord(
            run=console.RUN,
            command=command,
            started_at=_now(),
            configuration=configuration,
            versions=_versions(),
            machine=platform.node(),
        )

    def configured(self, document: object) -> None:
        """Take the configuration's digest from what its options stand for, as a plan's text."""
        self._update(configuration=configuration_digest(document))

    def took(self, done: object, late: HeadAtlasError | None = None) -> None:
        """Take what the command did from its result, and the error that follows it, if any."""
        self._update(**_figures(done))
        if late is not None:
            self._say(late)

    def failed(self, error: BaseException) -> None:
        """Take how the command ended from the error that ended it."""
        if isinstance(error, HeadAtlasError) and error.done is not None:
            self.took(error.done)
        self._say(error)

    def as_ended(self) -> RunRecord:
        """Return the record as it is if the run ends now: well, unless an error was taken."""
        code = self.record.exit_code or 0
        ended = {
            "ended_at": _now(),
            "seconds": time.perf_counter() - self._clock,
            "exit_code": code,
            "outcome": OUTCOMES.get(code, "failed"),
        }
        return self.record.model_copy(update=ended)

    def _say(self, error: BaseException) -> None:
        text = " ".join(str(error).split())
        if isinstance(error, HeadAtlasError):
            code = error.exit_code
        elif isinstance(error, KeyboardInterrupt):
            code, text = INTERRUPTED, "interrupted"
        else:
            code, text = 1, f"{type(error).__name__}: {text}"
        self._update(exit_code=code, message=text_without_credentials(text)[:LONG])

    def _update(self, **values: Any) -> None:
        self.record = self.record.model_copy(update=values)


_CURRENT: ContextVar[Recording | None] = ContextVar("recording", default=None)


def current() -> Recording | None:
    """Return the recording of the run that is going on; None where nothing is recorded."""
    return _CURRENT.get()


@contextmanager
def recorded(command: str, root: Path, configuration: object) -> Iterator[Recording]:
    """Record what is done within, in the warehouse at `root`.

    A command that ends with nothing in a folder that was not there before leaves none. Where the
    record cannot be written, that is said, and the command goes on.
    """
    made, warehouse = Recording(command, configuration_digest(configuration)), Warehouse(root)
    new = not root.exists()
    _write(warehouse, made.record)
    token = _CURRENT.set(made)
    try:
        yield made
    except BaseException as error:
        made.failed(error)
        raise
    finally:
        _CURRENT.reset(token)
        ended = made.as_ended()
        if new and ended.exit_code and not any(p != warehouse.runs for p in _in(root)):
            shutil.rmtree(root, ignore_errors=True)
        else:
            _write(warehouse, ended)


def configuration_digest(document: object) -> str:
    """Return the digest of a configuration; passwords in addresses do not enter it."""
    return digest(_cleaned(document))


def _cleaned(document: object) -> object:
    if isinstance(document, dict):
        # where the warehouse lies is no part of what is done
        return {str(k): _cleaned(v) for k, v in document.items() if k != "warehouse"}
    if isinstance(document, (list, tuple)):
        return [_cleaned(value) for value in document]
    return text_without_credentials(document) if isinstance(document, str) else document


def _in(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _write(warehouse: Warehouse, record: RunRecord) -> None:
    try:
        write_run(warehouse, record)
    except OSError as error:
        console.warn(f"this run is not recorded: {error}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


@cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def _figures(done: object) -> dict[str, Any]:
    """Return what a record says of a result: its numbers, and the scan that it is of."""
    counts: dict[str, int | float] = {}
    said: dict[str, Any] = {"counts": counts}
    _gather(done, said, counts)
    if said.get("scanned") and said.get("wall"):
        said["rate"] = said["scanned"] / said["wall"]
    said.pop("wall", None)
    return said


def _gather(done: object, said: dict[str, Any], counts: dict[str, int | float]) -> None:
    if isinstance(done, (list, tuple)):
        counts.setdefault("results", len(done))
    elif isinstance(done, (int, float)) and not isinstance(done, bool):
        counts.setdefault("results", done)
    if not is_dataclass(done):
        return
    values = {field.name: getattr(done, field.name) for field in fields(done)}
    if "scanned" in values:
        said.setdefault("wall", values.get("seconds"))
    for name, value in values.items():
        if isinstance(value, Timing):
            said["stages"] = value.model_dump()
        elif is_dataclass(value):
            _gather(value, said, counts)
        elif isinstance(value, (list, tuple, dict)):
            counts.setdefault(name, len(value))
        elif name == "scan" and isinstance(value, str):
            said.setdefault("scan_id", value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            if name in ("images", "scanned", "rejects"):
                said.setdefault(name, int(value))
            counts.setdefault(name, value)
