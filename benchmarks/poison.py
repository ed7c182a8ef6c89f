"""One picture of 4,096 that kills its worker: it is one reject, all others are stored."""

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.rows import Row
from demo.model import CONFIG
from demo.world import materialise
from tests.jobs.ray.nodes import DYING, ENVIRONMENT, ROOT
from warehouse.files.layout import Warehouse
from warehouse.store import snapshots


def run(work: Path, pictures: int = 4096) -> list[Row]:
    """Scan the pictures as one shard, by one worker of a local Ray."""
    listing = materialise("test", work / "pictures", pictures)
    options = {
        "--path-column": "img_filename",
        "--model": str(CONFIG),
        "--pretrained": "none",
        "--warehouse": str(work / "w"),
        "--scan": "s",
        "--shard-size": str(pictures),
        "--workers": "1",
    }
    command = ["scan", str(listing), *(text for pair in options.items() for text in pair)]
    poison = {"POISON": f"images/{pictures * 2 // 3:06d}.png", "PYTHONPATH": str(ROOT)}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", DYING, *command, "--no-publish"],
        env={**os.environ, **ENVIRONMENT, **poison},
        check=False,
        capture_output=True,
    )
    seconds = time.perf_counter() - started
    newest = snapshots.latest(Warehouse(work / "w").scan("s"))
    images, rejects = (newest.images, newest.rejects) if newest else (0, 0)
    note = f"{images} stored, {rejects} rejects, {seconds:.0f} s"
    return [
        Row("exit code, one picture that kills", done.returncode, "", 0, note),
        Row("pictures lost beside it", pictures - 1 - images, "", 0, "one shard of 4,096"),
        Row("rejects more than it", rejects - 1, "", 0, "tried 3 times, then in halves"),
    ]
