"""Contribution maps for 80 texts against a scan of the same pictures: time and memory."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch

from benchmarks.rows import Row
from pipeline.heads.decompose import Decomposer
from pipeline.heads.frames import head_frames
from pipeline.maps.measure import PeakMemory
from pipeline.maps.methods.contribution import contribution
from pipeline.towers.models import load_model, pick_device

MODELS = (("ViT-B-16", 16), ("ViT-L-14", 4))
ROUNDS = 3
TEXTS = 80


def run(models: tuple[tuple[str, int], ...] = MODELS, rounds: int = ROUNDS) -> list[Row]:
    """Time a scan's pass and the maps' in turns on one batch; measure each one's memory."""
    return [row for name, batch in models for row in _compare(name, batch, rounds)]


def _work(name: str, batch: int) -> tuple[Callable[[], object], Callable[[], object]]:
    device = pick_device()
    loaded = load_model(name, "none", "fp32", device)
    frames = head_frames(loaded.tower, range(loaded.record.n_layers))
    decomposer = Decomposer(loaded.tower, frames)
    size = loaded.record.preprocessing.image_size
    pixels = torch.randn(batch, 3, *size, device=device)
    texts = torch.nn.functional.normalize(
        torch.randn(TEXTS, loaded.record.d_joint, device=device), dim=-1
    )
    return (
        lambda: decomposer(pixels),
        lambda: contribution(loaded.tower, pixels, texts, texts),
    )


def _compare(name: str, batch: int, rounds: int) -> list[Row]:
    scan, maps = _work(name, batch)
    # on a CPU its own seconds: other processes on the machine do not count
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    times: dict[str, list[float]] = {"scan": [], "maps": []}
    with torch.inference_mode():
        for _ in range(rounds + 1):
            for what, work in (("scan", scan), ("maps", maps)):
                started = clock()
                work()
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                times[what].append(clock() - started)
    ratio = statistics.median(times["maps"][1:]) / statistics.median(times["scan"][1:])
    note = f"{name}, fp32, {pick_device().type}, batch {batch}, {TEXTS} texts, medians of {rounds}"
    memory = _peak("maps", name, batch) / _peak("scan", name, batch)
    return [
        Row("contribution maps over a scan, time", ratio, "x", 1.3, note),
        Row("contribution maps over a scan, peak memory", memory, "x", 1.5, f"{note}, one process"),
    ]


def _peak(what: str, name: str, batch: int) -> float:
    """Return the bytes that one pass adds to a fresh process's resident memory at its peak."""
    code = f"from benchmarks.maps import peak; peak({what!r}, {name!r}, {batch})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def peak(what: str, name: str, batch: int) -> None:
    """Print the bytes that one pass takes at its peak."""
    work = dict(zip(("scan", "maps"), _work(name, batch), strict=True))[what]
    device = pick_device()
    with torch.inference_mode(), PeakMemory(device) as memory:
        work()
    print(memory.bytes)
