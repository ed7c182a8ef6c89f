"""Build the database from the files; readers of older versions are not disturbed."""

from pathlib import Path

from pydantic import Field

from jobs import console
from jobs.recording import current
from schemas.config import Config
from warehouse.database import publish
from warehouse.files.layout import Warehouse

WRITES = True


class PublishConfig(Config):
    """Options of `headatlas publish`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    materialize: tuple[str, ...] = Field(
        default=(),
        description="Heads also stored as native, centred unit vectors: L22H11, role:colour, all, "
        "or none. Default, those of the version before.",
    )
    keep: int | None = Field(
        default=None,
        ge=1,
        description="Published versions to keep. Default, as the last time it was given; first, 3.",
    )


NONE = "none"


def run(config: PublishConfig) -> publish.Published:
    """Publish a new version; readers of older ones are not disturbed.

    Raises:
        UnknownName: a head or role to materialise does not exist.
    """
    warehouse = Warehouse(config.warehouse)
    console.note(f"publishing {config.warehouse}")
    chosen = [word for word in config.materialize if word != NONE] if config.materialize else None
    recording = current()
    return publish.publish(
        warehouse,
        materialise=chosen,
        keep=config.keep,
        running=recording.as_ended() if recording is not None else None,
    )


def say(config: PublishConfig, done: publish.Published) -> None:
    """Say which version it is and what in it is stale."""
    console.note(f"published version {done.version}: {done.path} ({done.seconds:.1f} s)")
    for gone in done.gone:
        console.warn(
            f"{gone} was materialised and is not there any more; publish --materialize chooses anew"
        )
    for stale, why in done.why.items():
        console.warn(f"{stale} is not current ({why}): run it again, or refresh")
