"""A scan of pictures damaged at random, with bombs among them: none is lost, memory is bounded."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.rows import Row
from demo.model import CONFIG
from tests.mutated import KINDS, write_mutants

BAR_GB = 2.5
_SCAN = """
import json, sys
from benchmarks.peak import peak_bytes
from jobs.commands import scan
options = json.loads(sys.argv[1])
done = scan.run(scan.ScanConfig.checked(options))
print(json.dumps([done.images, done.rejects, done.seconds, peak_bytes()]))
"""


def run(work: Path, pictures: int = 3400, large: int = 12) -> list[Row]:
    """Scan as many pictures of each kind of source, in one process with a thread for each core."""
    rows = []
    for seed, kind in enumerate(KINDS):
        source = write_mutants(work, kind, pictures, seed, large)
        options = {
            "source": str(source),
            "model": str(CONFIG),
            "pretrained": "none",
            "warehouse": str(work / "w"),
            "scan": kind,
            "workers": 0,
        }
        done = subprocess.run(
            [sys.executable, "-c", _SCAN, json.dumps(options)],
            check=True,
            capture_output=True,
            text=True,
        )
        images, rejects, seconds, peak = json.loads(done.stdout.splitlines()[-1])
        note = f"{pictures} from {kind}, {large} of 179 MP: {images} stored, {rejects} rejects"
        rows += [
            Row(f"rows lost, {kind}", pictures - images - rejects, "", 0, note),
            Row(f"peak memory, {kind}", peak / 1e9, "GB", BAR_GB, f"{seconds:.0f} s"),
        ]
    return rows
