"""What a command of `headatlas` is."""

from collections.abc import Callable
from dataclasses import dataclass

from jobs import console
from schemas.config import Config, PublishConfig


@dataclass(frozen=True)
class Command:
    """A command: `run` is called with the checked configuration and prints what was done."""

    name: str
    model: type[Config]
    run: Callable[..., None]
    arguments: tuple[str, ...] = ()
    flags: tuple[tuple[str, str], ...] = ()


NO_PUBLISH = (("no_publish", "Do not publish when done."),)
"""The flag of a command that publishes what it has stored."""


def publish_and_say(config: PublishConfig) -> None:
    """Publish, and say which version it is and what in it is stale."""
    from jobs.commands import publish

    done = publish.run(config)
    console.note(f"published version {done.version}: {done.path} ({done.seconds:.1f} s)")
    for gone in done.gone:
        console.warn(
            f"{gone} was materialised and is not there any more; publish --materialize chooses anew"
        )
    for stale in done.stale:
        console.warn(f"{stale} was made from an older snapshot: run it again, or refresh")
