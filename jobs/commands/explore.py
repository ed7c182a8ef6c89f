"""Look at the published database as pages, on this machine; or write them as static files."""

from pathlib import Path

from pydantic import Field

from jobs import console
from jobs.steps.map_options import Eclip
from schemas.config import Config
from schemas.errors import UsageError, near_path
from warehouse.files.layout import Warehouse


class ExploreConfig(Config):
    """Options of `headatlas explore`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on. Any but this machine's own needs a token, which is "
        "printed once.",
    )
    port: int = Field(default=8765, ge=0, le=65535, description="Port; 0 takes any free one.")
    eclip: Eclip = None
    export: Path | None = Field(
        default=None, description="Write the pages as static files into this folder instead."
    )
    pictures: int = Field(
        default=500, ge=0, description="With --export, most pictures that get a page."
    )


def run(config: ExploreConfig) -> int | None:
    """Serve the pages until interrupted, or write them as files and return their number.

    Raises:
        UsageError: nothing is published, the port is taken, or there is no file of projections.
    """
    from jobs.explore.app import application, new_token
    from jobs.explore.explorer import Explorer
    from jobs.explore.serving import LOOPBACK, is_loopback, listen, server

    warehouse = Warehouse(config.warehouse.expanduser().absolute())
    if config.eclip is not None and not config.eclip.is_file():
        raise UsageError(
            f"--eclip {config.eclip} is no file{near_path(config.eclip)}; expected a checkpoint of "
            "ECLIP's two projections"
        )
    explorer = Explorer.over(warehouse, config.eclip)
    with explorer.database.cursor():
        pass
    if config.export is not None:
        from jobs.explore.export import export

        return export(explorer, config.export, most_pictures=config.pictures)
    alone = is_loopback(config.host)
    token = None if alone else new_token()
    listener = listen(config.host, config.port)
    port = listener.getsockname()[1]
    shown = f"[{config.host}]" if ":" in config.host else config.host
    address = f"http://{shown}:{port}/" + (f"?token={token}" if token else "")
    console.note(f"the atlas is at {address} (Ctrl-C ends it)")
    app = application(explorer, hosts=LOOPBACK if alone else (), token=token)
    server(app).run(sockets=[listener])
    return None


def say(config: ExploreConfig, done: int | None) -> None:
    """Say what was written."""
    if done is not None and config.export is not None:
        console.note(f"{done:,} pages in {config.export}: open {config.export / 'index.html'}")
