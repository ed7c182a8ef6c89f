"""A scan that adds up paths from head to head as it goes (`--store edges`), over one without."""

import statistics

import torch

from benchmarks.encode import seconds
from benchmarks.rows import Row
from pipeline.heads.decompose import Decomposer
from pipeline.heads.frames import head_frames
from pipeline.heads.watches import watches
from pipeline.towers.forward import Step
from pipeline.towers.models import load_model, pick_device

MODEL, BATCH, ROUNDS = "ViT-B-16", 8, 5


def run(model: str = MODEL, batch: int = BATCH, rounds: int = ROUNDS) -> list[Row]:
    """Time both on the same batch in turns, all heads of all layers kept; ratio of medians."""
    device = pick_device()
    loaded = load_model(model, "none", "fp32", device)
    layers = range(loaded.record.n_layers)
    decomposer = Decomposer(loaded.tower, head_frames(loaded.tower, layers))
    kept = watches(loaded.tower, ("head", "edges"), layers)
    pixels = torch.randn(batch, 3, *loaded.record.preprocessing.image_size, device=device)

    def show(step: Step) -> None:
        for watch in kept.values():
            watch(step)

    def with_edges() -> None:
        found = decomposer(pixels, show)
        for watch in kept.values():
            watch.take(found)

    plain, whole = [], []
    with torch.inference_mode():
        for _ in range(rounds + 1):
            plain.append(seconds(lambda: decomposer(pixels), device))
            whole.append(seconds(with_edges, device))
    ratio = statistics.median(whole[1:]) / statistics.median(plain[1:])
    note = f"{model}, fp32, {device.type}, batch {batch}, medians of {rounds}"
    return [Row("scan of a batch, --store edges over none", ratio, "x", 1.15, note)]
