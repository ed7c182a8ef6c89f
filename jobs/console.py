"""What a command says: a bar and tables on a terminal, JSON lines otherwise.

Results go to standard output; progress, notes and warnings to standard error.
"""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pyarrow as pa

# Seconds between two JSON lines of progress.
EVERY = 5.0

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class Advance(Protocol):
    """What a running job calls to say how far it is."""

    def __call__(self, done: int) -> None:
        """Set the number of units done."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "")


@contextmanager
def progress(what: str, total: int, unit: str = "pictures") -> Iterator[Advance]:
    """Show how far a job is, with rate and time left."""
    if err.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            _Rate(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=err) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done: bar.update(task, completed=done)
        return
    started = last = time.monotonic()
    said = -1

    def line(done: int) -> None:
        nonlocal last, said
        now = time.monotonic()
        if done == said or (now - last < EVERY and done < total):
            return
        last, said = now, done
        rate = done / max(now - started, 1e-9)
        left = (total - done) / rate if rate > 0 else None
        event("progress", job=what, unit=unit, done=done, total=total, rate=rate, seconds_left=left)

    yield line


def event(kind: str, **facts: Any) -> None:
    """Write one JSON line to standard error."""
    rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in facts.items()}
    sys.stderr.write(json.dumps({"event": kind, **rounded}, default=str) + "\n")
    sys.stderr.flush()


def note(text: str) -> None:
    """Say something that a person may want to know."""
    if err.is_terminal:
        err.print(Text(text, style="dim"))
    else:
        event("note", text=text)


def warn(text: str) -> None:
    """Say, loudly, something that a person must not miss."""
    if err.is_terminal:
        err.print(Text(f"WARNING  {text}", style="bold yellow"))
    else:
        event("warning", text=text)


def fail(text: str) -> None:
    """Say, in one line, why a command failed."""
    err.print(Text.assemble(("Error: ", "bold red"), text), soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table to standard output: drawn on a terminal, tab-separated otherwise."""
    if not out.is_terminal:
        for row in (columns, *rows):
            sys.stdout.write("\t".join(cell(value) for value in row) + "\n")
        return
    drawn = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell(value)) for value in row))
    out.print(drawn)


def show(title: str, found: "pa.Table") -> None:
    """Print an Arrow table."""
    columns = [column.to_pylist() for column in found.columns]
    table(title, found.column_names, list(zip(*columns, strict=True)))


def left_out(rejects: Sequence[tuple[str, str]]) -> None:
    """Warn of pictures that were left out, the first few by name."""
    for key, reason in rejects[:5]:
        warn(f"left out {key}: {reason}")
    if len(rejects) > 5:
        warn(f"{len(rejects)} pictures were left out in all")


def cell(value: object) -> str:
    """Return a value as short text."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e6 else f"{value:,.0f}"
    if isinstance(value, (list, tuple)) and len(value) > 8:
        return f"[{', '.join(cell(v) for v in value[:4])}, ... {len(value)}]"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(cell(v) for v in value)}]"
    return str(value)


def size(count: float) -> str:
    """Return a number of bytes as text, in units of 1,000."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1000
    raise AssertionError
