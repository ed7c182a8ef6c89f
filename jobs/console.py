"""What a command says: a bar and tables on a terminal, JSON lines otherwise.

Results go to standard output; progress, notes, warnings and errors to standard error. What others
wrote (keys, labels, texts, file names) is shown with its control characters escaped, and never read
as markup.
"""

import json
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

if TYPE_CHECKING:
    import pyarrow as pa

# Seconds between two lines of progress.
EVERY = 5.0
# Seconds after which a program that has said nothing seems to hang.
SOON = 0.5
# Columns of a terminal below which a progress bar leaves out all but bar, count, rate and time.
NARROW = 90
# Stands in every JSON line of one process.
RUN = uuid.uuid4().hex[:12]

Level = Literal["info", "warning", "error"]
EVENTS: dict[str, tuple[Level, str]] = {
    "note": ("info", "`text`: something that a person may want to know."),
    "warning": ("warning", "`text`: something that a person must not miss."),
    "error": ("error", "`text`: why the command failed; `exit_code`. The last line."),
    "progress": (
        "info",
        "`job`, `unit`, `done`, `total`, `rate` (units a second), `seconds_left`; every "
        f"{EVERY:.0f} seconds, and at the end.",
    ),
}
"""Every kind of JSON line: its level, and what it holds beside `time`, `level`, `run`, `event`."""

out = Console(highlight=False, markup=False, emoji=False)
err = Console(stderr=True, highlight=False, markup=False, emoji=False)


class Advance(Protocol):
    """What a running job calls to say how far it is."""

    def __call__(self, done: int) -> None:
        """Set the number of units done."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "")


def bar(width: int, unit: str) -> Progress:
    """Return a progress bar for a terminal of so many columns."""
    narrow = width < NARROW
    name = Column(overflow="ellipsis", no_wrap=True, max_width=max(8, width // 4), ratio=None)
    what = TextColumn("{task.description}", markup=False, table_column=name)
    count: list[ProgressColumn | str] = [BarColumn(max(6, width // 6)), MofNCompleteColumn()]
    if not narrow:
        count.append(TextColumn(unit, markup=False))
    count.append(_Rate())
    if not narrow:
        count += [TimeElapsedColumn(), TextColumn("left")]
    return Progress(what, *count, TimeRemainingColumn(compact=narrow), console=err)


@contextmanager
def progress(what: str, total: int, unit: str = "pictures") -> Iterator[Advance]:
    """Show how far a job is, with rate and time left."""
    if err.is_terminal:
        with bar(err.width, unit) as shown:
            task = shown.add_task(escaped(what), total=total)
            yield lambda done: shown.update(task, completed=done)
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
        if err.is_jupyter:
            sys.stderr.write(f"{what}: {done:,} of {total:,} {unit}\n")
        else:
            event(
                "progress", job=what, unit=unit, done=done, total=total, rate=rate,
                seconds_left=left,
            )  # fmt: skip

    yield line


@contextmanager
def said_soon(what: str) -> Iterator[None]:
    """Say what goes on, if it takes so long that silence would be odd."""
    timer = threading.Timer(SOON, note, [what])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def working(what: str) -> Iterator[None]:
    """Say every few seconds that something goes on whose parts cannot be counted, and how long."""
    if err.is_terminal:
        name = TextColumn("{task.description}", markup=False)
        columns = (SpinnerColumn(), name, TimeElapsedColumn())
        with Progress(*columns, console=err, transient=True) as shown:
            shown.add_task(escaped(what), total=None)
            yield
        return
    done, started = threading.Event(), time.monotonic()

    def say() -> None:
        while not done.wait(EVERY):
            note(f"{what}: {time.monotonic() - started:.0f} s so far")

    thread = threading.Thread(target=say, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def event(kind: str, **facts: Any) -> None:
    """Write one JSON line to standard error; `EVENTS` says of which kinds."""
    rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in facts.items()}
    head = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": EVENTS[kind][0],
        "run": RUN,
        "event": kind,
    }
    line = json.dumps({**head, **rounded}, default=str, ensure_ascii=False)
    # a lone surrogate, as in an undecodable path, cannot be written as UTF-8
    sys.stderr.write(line.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")
    sys.stderr.flush()


def note(text: str) -> None:
    """Say something that a person may want to know."""
    _say("note", text, Text(escaped(text), style="dim"))


def loading(what: str) -> None:
    """Say that something slow to import or to load comes now; a terminal should not be silent."""
    note(f"loading {what}")


def warn(text: str) -> None:
    """Say, loudly, something that a person must not miss."""
    _say("warning", text, Text(f"WARNING  {escaped(text)}", style="bold yellow"))


def fail(text: str, exit_code: int = 1) -> None:
    """Say, in one line, why a command failed."""
    shown = Text.assemble(("Error: ", "bold red"), escaped(text))
    _say("error", text, shown, exit_code=exit_code)


def _say(kind: str, text: str, shown: Text, **facts: Any) -> None:
    if err.is_terminal:
        err.print(shown, soft_wrap=True)
    elif err.is_jupyter:
        sys.stderr.write(f"{shown.plain}\n")
    else:
        event(kind, text=text, **facts)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table to standard output: drawn on a terminal, tab-separated otherwise."""
    if not out.is_terminal:
        for row in (columns, *rows):
            sys.stdout.write("\t".join(escaped(cell(value)) for value in row) + "\n")
        return
    drawn = Table(title=Text(escaped(title)), title_justify="left", title_style="bold")
    for column in columns:
        drawn.add_column(Text(escaped(column)), overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(escaped(cell(value))) for value in row))
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


def escaped(text: str) -> str:
    """Return text whose characters that move a cursor or turn a line around are written out."""
    return "".join(c if _shows(c) else c.encode("unicode_escape").decode() for c in text)


def _shows(character: str) -> bool:
    # printable: no control, format (bidirectional marks), surrogate or private character
    return character.isprintable() or character == "\u200d"


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
