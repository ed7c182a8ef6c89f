"""`evaluate` at 100,000 and at 1,000,000 pictures of a model of 12 layers of 12 heads.

At 100,000 a whole layer is evaluated and scaled to 144 heads; at 1,000,000 two heads are, on real
files, with embeddings 512 wide. Peak memory is of the process that evaluates, from the system.
"""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.peak import peak_bytes
from benchmarks.rows import Row
from jobs.commands import evaluate
from tests.synthetic import Shape, add_shard, commit, draw, record
from warehouse.files.layout import Warehouse

HEADS, SHARD = 144, 4096


def run(work: Path) -> list[Row]:
    """Build each warehouse and evaluate it in a process of its own."""
    rows = []
    for pictures, heads in ((100_000, 12), (1_000_000, 2)):
        root = work / str(pictures)
        _build(root, pictures, heads)
        command = [sys.executable, "-m", "benchmarks.evaluation", str(root)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        alone, seconds, peak = map(float, said.split()[-3:])
        minutes = (alone + (seconds - alone) / heads * HEADS) / 60
        note = f"{heads} heads and the embedding in {seconds:.0f} s; 500 queries, 3 attributes"
        rows.append(Row(f"evaluate, {pictures:,} x {HEADS}", minutes, "min", 30.0, note))
        rows.append(Row(f"evaluate, {pictures:,}: peak memory", peak / 1e9, "GB", 1.0, note))
    return rows


def _build(root: Path, pictures: int, heads: int) -> None:
    shape = Shape(layers=(5,), n_layers=12, n_heads=heads, d_head=64, d_joint=512, shard_size=SHARD)
    rng = np.random.default_rng(0)
    scan = Warehouse(root).create_scan("large")
    scan.save_record(record(scan.name, shape, "2026-01-01T00:00:00+00:00"))
    manifests = []
    for number, first in enumerate(range(0, pictures, SHARD)):
        count = min(SHARD, pictures - first)
        drawn = {5: draw(shape, count, rng)}
        manifests.append(add_shard(scan, shape, number, drawn, rng, first=first))
    commit(scan, manifests, pictures)


def main(root: Path) -> None:
    """Evaluate; print the seconds until the first head, all seconds, and the peak of memory."""
    started = time.perf_counter()
    first: list[float] = []
    inner = evaluate.precision_of

    def timed(*given: object) -> object:
        first.append(time.perf_counter() - started)
        return inner(*given)  # type: ignore[arg-type]

    evaluate.precision_of = timed  # type: ignore[assignment]
    evaluate.run(evaluate.EvaluateConfig(warehouse=root))
    peak = peak_bytes()
    print(first[0], time.perf_counter() - started, peak)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
