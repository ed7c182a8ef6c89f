"""What a command of `headatlas` is."""

from collections.abc import Callable
from dataclasses import dataclass

from schemas.config import Config


@dataclass(frozen=True)
class Command:
    """A command: `run` is called with the checked configuration and prints what was done."""

    name: str
    model: type[Config]
    run: Callable[..., None]
    arguments: tuple[str, ...] = ()
    flags: tuple[tuple[str, str], ...] = ()
