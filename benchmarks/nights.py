"""A thousand nights of `headatlas refresh`: pictures come, change and vanish, and nothing piles up.

Each night is the real one, in this process with `workers: 0`: pictures are files, a tiny model
scans what is new, TextSpan, a classifier of the labels and the database follow, and the plan's
housekeeping tidies up. As many pictures vanish as come, so that whatever grows is of the nights and
not of the data; what data costs is measured apart, by a few nights at the size that a thousand
nights of 45 pictures more would reach. `python -m benchmarks.nights FOLDER NIGHTS` goes on with the
nights of a folder.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

import headatlas
from benchmarks.rows import Row
from warehouse.files.layout import Warehouse
from warehouse.store import snapshots
from warehouse.store.reading import read_images
from warehouse.store.verify import verify

SCAN, SIDE, KINDS = "nightly", 16, 3
START, SHARD = 2_000, 256
# Nights that a mean is taken over: several of the times that small shards are merged.
WINDOW, FIRST = 100, 30
VISION = {"image_size": SIDE, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8}
TEXT = {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}


@dataclass(frozen=True)
class Change:
    """What one night brings."""

    new: int = 50
    changed: int = 5
    vanished: int = 50


class Nights:
    """A folder with pictures, a plan, a warehouse, and a line for each night that was run."""

    def __init__(self, folder: Path, start: int = START, shard_size: int = SHARD) -> None:
        """Take up what is in the folder, or begin with `start` pictures."""
        self.folder, self.pictures = folder, folder / "pictures"
        self.warehouse, self.said = Warehouse(folder / "warehouse"), folder / "nights.jsonl"
        self.plan = folder / "night.yaml"
        self.keys = sorted(str(p.relative_to(self.pictures)) for p in self.pictures.glob("*/*.png"))
        if not self.keys:
            self._begin(start, shard_size)

    def _begin(self, start: int, shard_size: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._draw_new(start, np.random.default_rng(0))
        model, texts = self.folder / "tiny.json", self.folder / "texts.txt"
        model.write_text(json.dumps({"embed_dim": 12, "vision_cfg": VISION, "text_cfg": TEXT}))
        texts.write_text("".join(f"a {word}\n" for word in "red green blue bird car snow".split()))
        headatlas.pool_import(file=texts, warehouse=self.warehouse.root, name="words")
        plan = {
            "warehouse": str(self.warehouse.root),
            "scan": {
                "source": str(self.pictures),
                "model": str(model),
                "pretrained": "none",
                "scan": SCAN,
                "labels": "folder",
                "shard_size": shard_size,
                "workers": 0,
            },
            "textspan": [{"pool": "words", "m": 3}],
            "zeroshot": [{"classes": "labels", "classifier": "kinds"}],
        }
        self.plan.write_text(yaml.safe_dump(plan))
        with _silence():
            headatlas.refresh(plan=self.plan)

    def _draw_new(self, count: int, rng: np.random.Generator) -> None:
        first = 1 + max((int(Path(key).stem) for key in self.keys), default=-1)
        for number in range(first, first + count):
            key = f"kind{number % KINDS}/{number:07d}.png"
            self._draw(key, rng)
            self.keys.append(key)

    def _draw(self, key: str, rng: np.random.Generator) -> None:
        path = self.pictures / key
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(path)

    def change(self, night: int, change: Change) -> None:
        """Draw new pictures, draw some anew, and delete some."""
        rng = np.random.default_rng([1, night])
        chosen = rng.choice(len(self.keys), change.changed + change.vanished, replace=False)
        for at in chosen[: change.changed]:
            self._draw(self.keys[at], rng)
        gone = {self.keys[at] for at in chosen[change.changed :]}
        for key in gone:
            (self.pictures / key).unlink()
        self.keys = [key for key in self.keys if key not in gone]
        self._draw_new(change.new, rng)

    def run(self, nights: int, change: Change) -> None:
        """Run so many nights more; each leaves a line with what it took and what there is."""
        done = len(self.measured())
        for night in range(done, done + nights):
            self.change(night, change)
            wall, cpu = time.perf_counter(), time.process_time()
            with _silence():
                headatlas.refresh(plan=self.plan)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            found = [p.lstat().st_size for p in self.warehouse.root.rglob("*") if p.is_file()]
            line = {
                "night": night,
                "seconds": wall,
                "cpu": cpu,
                "files": len(found),
                "bytes": sum(found),
                "pictures": len(self.keys),
            }
            with self.said.open("a") as stream:
                stream.write(json.dumps(line) + "\n")

    def measured(self) -> list[dict[str, float]]:
        """Return the lines of the nights that were run."""
        if not self.said.is_file():
            return []
        return [json.loads(line) for line in self.said.read_text().splitlines()]

    def lost(self) -> int:
        """Return how many pictures are stored and not there, or there and not stored."""
        scan = self.warehouse.scan(SCAN)
        newest = snapshots.latest(scan)
        shards = [live.shard for live in newest.shards] if newest is not None else []
        return len(set(read_images(scan, shards, ["key"])["key"].to_pylist()) ^ set(self.keys))

    def problems(self) -> int:
        """Return how many problems `verify` finds."""
        return len(verify(self.warehouse.scan(SCAN)).problems)


@contextmanager
def _silence() -> Iterator[None]:
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        yield


def run(work: Path, nights: int = 1_000) -> list[Row]:
    """Run the nights, then a few with as many pictures as growth would have brought."""
    steady = Nights(work / "steady")
    steady.run(nights, Change())
    rows = told(steady)
    grown = Nights(work / "grown", START + 45 * nights)
    grown.run(5, Change(vanished=5))
    small, large = (_mean(one.measured(), "cpu") for one in (steady, grown))
    more = (len(grown.keys) - len(steady.keys)) / 1_000
    sizes = f"{len(steady.keys):,} and {len(grown.keys):,} pictures"
    note = f"CPU of a night {small:.2f} and {large:.2f} s with {sizes}"
    name = "a night, for each 1,000 pictures that are there"
    return [*rows, Row(name, (large - small) / more, "s", None, note)]


def told(nights: Nights) -> list[Row]:
    """Compare the last nights with those after the first month; check that nothing is lost."""
    lines = nights.measured()
    after = lines[FIRST : FIRST + WINDOW]
    last = lines[-WINDOW:]
    note = f"{len(lines):,} nights, {len(nights.keys):,} pictures; means of {WINDOW} nights"
    rows = []
    for what in ("files", "bytes", "seconds", "cpu"):
        early, late = _mean(after, what), _mean(last, what)
        said = f"{note}: {early:.4g}, {late:.4g}"
        rows.append(Row(f"{what} of a night, last over first", late / early, "x", 1.2, said))
    return [
        *rows,
        Row("pictures lost or left over", nights.lost(), "", 0, note),
        Row("problems at the end, by verify", nights.problems(), "", 0, note),
    ]


def _mean(lines: list[dict[str, float]], what: str) -> float:
    return statistics.fmean(line[what] for line in lines)


def main(folder: Path, nights: int) -> None:
    """Go on with the nights of a folder, and say how they compare once there are enough."""
    steady = Nights(folder)
    steady.run(nights, Change())
    if len(steady.measured()) >= FIRST + 2 * WINDOW:
        for row in told(steady):
            print(f"{row.name:40} {row.value:10.4g} {row.unit:3} {row.note}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
