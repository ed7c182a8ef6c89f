"""Peak memory of a whole scan, all its processes together, at two sizes of data set."""

import subprocess
import sys
import time
from pathlib import Path

import psutil

from benchmarks.rows import Row
from demo.world import materialise

CONFIG = Path(__file__).parents[1] / "demo" / "small_clip.json"
SMALL, LARGE = 2_000, 20_000


def run(work: Path) -> list[Row]:
    """Scan both through Ray, and compare the peaks of the processes' shared-out memory (PSS)."""
    peaks = {}
    for pictures in (SMALL, LARGE):
        listing = materialise("train", work / f"pictures-{pictures}", pictures)
        peaks[pictures] = _peak(listing, work / f"warehouse-{pictures}")
    note = f"{peaks[SMALL] / 1e9:.2f} GB at {SMALL:,}, {peaks[LARGE] / 1e9:.2f} GB at {LARGE:,}"
    return [
        Row("peak memory, 20,000 over 2,000 pictures", peaks[LARGE] / peaks[SMALL], "x", 1.05, note)
    ]


def _peak(listing: Path, warehouse: Path) -> int:
    options = [
        "--path-column",
        "img_filename",
        "--model",
        str(CONFIG),
        "--pretrained",
        "none",
        "--shard-size",
        "1000",
    ]
    options += ["--warehouse", str(warehouse), "--scan", "s", "--batch-size", "64", "--no-publish"]
    command = [sys.executable, "-c", "from jobs.cli import main; main()", "scan", str(listing)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = psutil.Popen([*command, *options], **quiet)
    peak = 0
    while process.poll() is None:
        peak = max(peak, _together(process))
        time.sleep(0.2)
    if process.returncode:
        raise RuntimeError(f"the scan of {listing} ended with {process.returncode}")
    return peak


def _together(process: psutil.Process) -> int:
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_full_info().pss
        except psutil.Error:
            continue
    return total
