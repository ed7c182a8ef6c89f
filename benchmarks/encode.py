"""A scan's forward pass, every head of every layer kept, against plain `encode_image`."""

import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.rows import Row
from pipeline.heads.decompose import Decomposer
from pipeline.heads.frames import head_frames
from pipeline.towers.models import load_model, pick_device

MODELS = (("ViT-B-16", 16), ("ViT-L-14", 4))
ROUNDS = 7


def run(models: tuple[tuple[str, int], ...] = MODELS, rounds: int = ROUNDS) -> list[Row]:
    """Time both on the same batch in turns; the ratio is of medians."""
    device = pick_device()
    factor = 16 if device.type == "cuda" else 1
    return [row for name, batch in models for row in _compare(name, batch * factor, device, rounds)]


def _compare(name: str, batch: int, device: torch.device, rounds: int) -> list[Row]:
    loaded = load_model(name, "none", "fp32", device)
    layers = tuple(range(loaded.record.n_layers))
    decomposer = Decomposer(loaded.tower, head_frames(loaded.tower, layers))
    size = loaded.record.preprocessing.image_size
    pixels = torch.randn(batch, 3, *size, device=device)
    difference = decomposer.check(pixels)
    plain, scan = [], []
    with torch.inference_mode():
        for _ in range(rounds + 1):
            plain.append(_seconds(lambda: loaded.clip.encode_image(pixels), device))
            scan.append(_seconds(lambda: decomposer(pixels), device))
    note = f"{name}, fp32, {device.type}, batch {batch}, medians of {rounds}"
    ratio = statistics.median(scan[1:]) / statistics.median(plain[1:])
    return [
        Row("scan of a batch over encode_image", ratio, "x", 1.0, note),
        Row("largest difference of parts' sum", difference, "", 2e-5, name),
    ]


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started
