"""Reading a million pictures of 12 layers of 12 heads, on real files, and one head of ten million.

Vectors are drawn, 16 wide: what is asked of them reads as many files, row groups and rows as of a
model's, and a quarter of the bytes. Each question is a process of its own, whose peak memory the
system says. `python -m benchmarks.reading FOLDER QUESTION` asks one of a warehouse that is there.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import headatlas
from benchmarks.ablation import build, classify, grow
from benchmarks.nearest import ask
from benchmarks.peak import peak_bytes
from benchmarks.rows import Row
from jobs.steps.opened import open_scan
from jobs.steps.subset_moments import subset_moments
from pipeline.heads.textspan import textspan
from tests.synthetic import Shape
from warehouse.database.publish import publish
from warehouse.files.layout import Warehouse
from warehouse.store import snapshots

MILLION = Shape(tuple(range(12)), 12, 12, d_head=16, d_joint=64, shard_size=4096)
ONE_HEAD = Shape((0,), 1, 1, d_head=64, d_joint=4, shard_size=65_536)
HEADS = {12: "L11H11", 1: "L0H0"}
TEXTS, STEPS = 3_500, 16


class Question(NamedTuple):
    """What is asked, and the most seconds and GB that it may take."""

    ask: Callable[[Warehouse], float]
    name: str
    seconds: float | None = None
    memory: float | None = None


def run(work: Path, pictures: int = 1_000_000, many: int = 10_000_000) -> list[Row]:
    """Build both warehouses, where they are not there yet, and ask everything of each."""
    rows = []
    for name, shape, count in (("million", MILLION, pictures), ("many", ONE_HEAD, many)):
        warehouse = Warehouse(work / name)
        if not warehouse.root.exists():
            scan = build(warehouse, count, shape)
            if name == "million":
                classify(scan, "two", 2)
        size = f"{count:,} pictures x {len(shape.layers) * shape.n_heads} heads of {shape.d_head}"
        for question in QUESTIONS if name == "million" else ("materialise", "native"):
            rows += _asked(warehouse, question, size)
    return rows


def _asked(warehouse: Warehouse, question: str, size: str) -> list[Row]:
    command = [sys.executable, "-m", "benchmarks.reading", str(warehouse.root), question]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, peak = map(float, said.split()[-2:])
    asked, large = QUESTIONS[question], "10,000,000" in size
    note = f"{size}; peak {peak / 1e9:.2f} GB"
    rows = [Row(asked.name, seconds, "s", None if large else asked.seconds, note)]
    rows.append(
        Row(f"{asked.name}: memory", peak / 1e9, "GB", 4.0 if large else asked.memory, size)
    )
    return rows


def _head(warehouse: Warehouse) -> str:
    return HEADS[len(open_scan(warehouse, None).record.layers)]


def _nearest(warehouse: Warehouse) -> float:
    found = open_scan(warehouse, None)
    return ask(warehouse, found.snapshot.images, _head(warehouse))[1]


def _publish(warehouse: Warehouse) -> float:
    return publish(warehouse, materialise=()).seconds


def _materialise(warehouse: Warehouse) -> float:
    return publish(warehouse, materialise=(_head(warehouse),)).seconds


def _night(warehouse: Warehouse) -> float:
    """Publish after a shard more; that it is there already is no part of the time."""
    scan, newest = snapshots.open_scan(warehouse, None)
    grow(scan, MILLION, MILLION.shard_size)
    assert snapshots.open_scan(warehouse, None)[1].number == newest.number + 1
    return publish(warehouse).seconds


def _ablate(warehouse: Warehouse) -> float:
    return _timed(
        lambda: headatlas.ablate(
            warehouse=warehouse.root, classifier="two", heads="L11H0,L11H1,L10H0,L10H1"
        )
    )


def _where(warehouse: Warehouse) -> float:
    texts = np.random.default_rng(0).standard_normal((TEXTS, MILLION.d_joint))
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)

    def made() -> None:
        found = open_scan(warehouse, None)
        moments = subset_moments(found, "label = 'kind 1'")
        covariance = [moments["head", *head].covariance for head in found.heads]
        textspan(covariance, [found.frame(*head) for head in found.heads], texts, STEPS)

    return _timed(made)


def _verify(warehouse: Warehouse) -> float:
    return _timed(lambda: headatlas.verify(warehouse=warehouse.root))


def _quick(warehouse: Warehouse) -> float:
    return _timed(lambda: headatlas.verify(warehouse=warehouse.root, quick=True))


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


QUESTIONS = {
    "publish": Question(_publish, "publish"),
    "parquet": Question(_nearest, "nearest_by_head, Parquet, warm", 0.35),
    "materialise": Question(_materialise, "publish, one head materialised"),
    "native": Question(_nearest, "nearest_by_head, materialised, warm", 0.05),
    "night": Question(_night, "publish after a night", 5.0, 1.0),
    "ablate": Question(_ablate, "ablate 4 heads, 10 random sets"),
    "where": Question(_where, "textspan --where, a third of the pictures"),
    "quick": Question(_quick, "verify --quick"),
    "verify": Question(_verify, "verify"),
}


def main(root: Path, question: str) -> None:
    """Ask one question; print its seconds, and the peak of memory."""
    seconds = QUESTIONS[question].ask(Warehouse(root))
    print(seconds, peak_bytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
