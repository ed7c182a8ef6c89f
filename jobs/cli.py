"""The program `headatlas`: its commands, and how its errors are said."""

import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from types import FrameType
from typing import Annotated, Any

import typer

from jobs import console
from jobs.command import commands, groups
from jobs.options import add_command, add_stub
from schemas.errors import HeadAtlasError

INTERRUPTED = 130
USAGE = 2

HELP = "What every attention head of a CLIP image encoder does, for a whole data set, in SQL."
COMPLETE = "_HEADATLAS_COMPLETE"


def _show_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"headatlas {version('headatlas')}\n")
        raise typer.Exit


def _top(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
    _debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Take the options that stand before any command."""


def program(given: Sequence[str]) -> typer.Typer:
    """Return the program for these arguments: of the command that they ask for, or of all.

    Only the one that is asked for is imported; the others are names, and their helps.
    """
    app = typer.Typer(
        name="headatlas",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
        add_completion=True,
    )
    app.callback(help=HELP)(_top)
    known = commands()
    if COMPLETE in os.environ:
        asked = known
    else:
        asked = tuple(c for c in known if list(given[: len(c.name.split())]) == c.name.split())
    for command in asked:
        with console.said_soon(f"loading headatlas {command.name}"):
            add_command(app, command)
    for command in () if asked else known:
        add_stub(app, command)
    return app


def _terminate(number: int, frame: FrameType | None) -> None:
    """Treat SIGTERM and SIGHUP as Ctrl-C, so that nothing is left half-way."""
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> None:
    """Run the program; errors are one line, without a traceback unless --debug is given."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given or bool(os.environ.get("HEADATLAS_DEBUG"))
    given = [a for a in given if a != "--debug"]
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it
        signal.signal(signal.SIGHUP, _terminate)
    sys.exit(_run(given, debug))


def _run(given: list[str], debug: bool) -> int:
    options: dict[str, Any] = {"standalone_mode": False, "prog_name": "headatlas"}
    try:
        code = program(given)(given, **options)
    except HeadAtlasError as error:
        if debug:
            raise
        console.fail(str(error), error.exit_code)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except typer.TyperException as error:
        said = error.format_message()
        if said:
            console.fail(f"{said.rstrip('.')}; see {_asked(given)} -h", USAGE)
        # with nothing to say, the help has been shown
        return USAGE
    except Exception as error:
        if debug:
            raise
        reason = " ".join(str(error).split())[:300]
        console.fail(f"{type(error).__name__}: {reason}; --debug shows where")
        return 1
    if code == INTERRUPTED:
        # Typer itself turns Ctrl-C into this code, without a word
        console.fail(
            "interrupted; what is finished is kept: run the same command again to go on",
            INTERRUPTED,
        )
    return code if isinstance(code, int) else 0


def _asked(given: Sequence[str]) -> str:
    """Return the program with the command or group that these arguments name, if any."""
    known = {*groups(), *(command.name for command in commands())}
    for words in (2, 1):
        if " ".join(given[:words]) in known:
            return f"headatlas {' '.join(given[:words])}"
    return "headatlas"
