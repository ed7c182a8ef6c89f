"""`python -m docs.reproduce FOLDER`: run docs/reproducing.md, and write what its commands print.

A block of commands on that page may be followed by an answer: what its last command printed, as a
table. A test runs the same commands and compares.
"""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs import cli

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).with_name("reproducing.md")
START, END = "<!-- answer -->", "<!-- end -->"
BLOCK = re.compile(
    rf"^((?:    \S[^\n]*\n)+)(?:\n{START}\n(.*?)^{END}\n)?", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Step:
    """A block of commands, and the table that the last of them prints; None where none is shown."""

    commands: tuple[str, ...]
    answer: str | None


def steps(text: str) -> list[Step]:
    """Return the blocks of a page, in their order."""
    return [Step(_commands(found[1]), found[2]) for found in BLOCK.finditer(text)]


def _commands(block: str) -> tuple[str, ...]:
    return tuple(re.sub(r"\\\n\s+", "", block).strip("\n").replace("    ", "").split("\n"))


def prepare(folder: Path) -> None:
    """Make a folder in which the page's commands run: the small CLIP lies where it says."""
    (folder / "demo").mkdir(parents=True, exist_ok=True)
    for name in ("small_clip.json", "small_clip.safetensors"):
        (folder / "demo" / name).write_bytes((ROOT / "demo" / name).read_bytes())


def run(command: str) -> str:
    """Run a command of the page here; return what it printed as a Markdown table.

    Raises:
        RuntimeError: it did not end well.
    """
    program, *words = shlex.split(command)
    if program == "export":
        name, _, value = words[0].partition("=")
        os.environ[name] = value
        return ""
    if program != "headatlas":
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        return ""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            cli.main(words)
        except SystemExit as ended:
            if ended.code:
                raise RuntimeError(f"{command}: exit code {ended.code}") from None
    return table(printed.getvalue())


def table(printed: str) -> str:
    """Return tab-separated lines as a Markdown table; one that is Markdown stays as it is."""
    lines = printed.splitlines(keepends=False)
    if not lines or lines[0].startswith("|"):
        return printed
    rows = [line.split("\t") for line in lines]
    rows.insert(1, ["---"] * len(rows[0]))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def cells(answer: str) -> list[list[str]]:
    """Return the rows of a Markdown table, the header first."""
    lines = [line for line in answer.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if set("".join(row)) - set("-: ")]


def answers(text: str) -> Iterator[tuple[Step, str]]:
    """Run every block of a page in the current folder; yield each with its answer."""
    for step in steps(text):
        printed = [run(command) for command in step.commands]
        yield step, printed[-1]


def written(text: str, found: Sequence[str]) -> str:
    """Return the page with these answers where it shows any."""
    new = iter(found)

    def put(block: re.Match[str]) -> str:
        answer = next(new)
        return block[0] if block[2] is None else f"{block[1]}\n{START}\n{answer}{END}\n"

    return BLOCK.sub(put, text)


def main(folder: Path) -> None:
    """Run the page in a folder, and write it."""
    prepare(folder)
    text = PAGE.read_text(encoding="utf-8")
    with contextlib.chdir(folder):
        found = [answer for _, answer in answers(text)]
    PAGE.write_text(written(text, found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
