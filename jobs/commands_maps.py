"""The commands of maps: `headatlas map`."""

import json
import sys

from jobs import console
from jobs.command import Command
from schemas.config_maps import MapConfig


def _map(config: MapConfig) -> None:
    """Draw where the image encoder looks for each text, over a picture."""
    from jobs import map as job

    done = job.run(config)
    if config.points:
        sys.stdout.write(json.dumps(done.points_json(), indent=2) + "\n")
    else:
        rows = list(zip(config.texts, done.scores, strict=True))
        console.table("Cosine of the picture and each text", ("text", "cosine"), rows)
    console.note(f"drew {len(done.titles)} maps to {done.path}")


COMMANDS: tuple[Command, ...] = (Command("map", MapConfig, _map, ("image", "texts")),)
