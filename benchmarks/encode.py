"""A scan's forward pass against plain `encode_image`, by read-out."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from benchmarks.rows import Row
from pipeline.heads.decompose import Decomposer
from pipeline.heads.frames import head_frames
from pipeline.towers.models import load_model, pick_device

ROUNDS = 7


@dataclass(frozen=True)
class Case:
    """One model and what a scan stores of it.

    Attributes:
        model: open_clip's name.
        layers: as `scan --layers`; None: what is stored without a word.
        batch: pictures a pass, on a CPU.
        bar: of the ratio.
    """

    model: str
    layers: str | None
    batch: int
    bar: float


CLASS_TOKEN = (Case("ViT-B-16", None, 16, 1.0), Case("ViT-L-14", None, 4, 1.0))
READ_OUTS = (
    Case("ViT-B-16-SigLIP", None, 8, 1.02),
    Case("ViT-B-16-SigLIP", "all", 8, 1.25),
    Case("ViTamin-B", None, 8, 1.1),
    Case("EVA02-B-16", None, 8, 1.1),
)


def run(cases: Sequence[Case] = CLASS_TOKEN, rounds: int = ROUNDS) -> Iterator[Row]:
    """Time both on the same batch in turns; the ratio is of medians."""
    device = pick_device()
    factor = 16 if device.type == "cuda" else 1
    for case in cases:
        yield from _compare(case, case.batch * factor, device, rounds)


def _compare(case: Case, batch: int, device: torch.device, rounds: int) -> list[Row]:
    loaded = load_model(case.model, "none", "fp32", device)
    layers = loaded.record.layers_of(case.layers)
    decomposer = Decomposer(loaded.tower, head_frames(loaded.tower, layers))
    size = loaded.record.preprocessing.image_size
    pixels = torch.randn(batch, 3, *size, device=device)
    difference = decomposer.check(pixels)
    plain, scan, busy = [], [], []
    with torch.inference_mode():
        for _ in range(rounds + 1):
            started = time.process_time()
            plain.append(seconds(lambda: loaded.clip.encode_image(pixels), device))
            between = time.process_time()
            scan.append(seconds(lambda: decomposer(pixels), device))
            busy.append((time.process_time() - between) / (between - started))
    ratio = statistics.median(scan[1:]) / statistics.median(plain[1:])
    note = (
        f"{case.model}, layers {case.layers or 'as without a word'}, fp32, {device.type}, "
        f"batch {batch}, medians of {rounds}: {statistics.median(scan[1:]):.2f} s over "
        f"{statistics.median(plain[1:]):.2f} s; of processor time {statistics.median(busy[1:]):.3f}"
    )
    return [
        Row("scan of a batch over encode_image", ratio, "x", case.bar, note),
        Row("largest difference of parts' sum", difference, "", 2e-5, case.model),
    ]


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return how long a piece of work takes."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started
