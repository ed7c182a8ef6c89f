"""Peak memory of a SigLIP scan with all heads, over one with the pool's heads alone."""

import subprocess
import sys

import torch

from benchmarks.rows import Row
from pipeline.heads.decompose import Decomposer
from pipeline.heads.frames import head_frames
from pipeline.maps.measure import PeakMemory
from pipeline.towers.models import load_model, pick_device

MODEL, BATCH = "ViT-B-16-SigLIP", 32


def run(model: str = MODEL, batch: int = BATCH) -> list[Row]:
    """Measure one pass of each, in a process of its own."""
    found = {layers: _peak(model, layers, batch) for layers in ("pool", "all")}
    note = f"{model}, fp32, batch {batch}: " + ", ".join(
        f"{layers} {taken / 1e9:.2f} GB" for layers, (taken, _) in found.items()
    )
    whole = {layers: taken + held for layers, (taken, held) in found.items()}
    return [
        Row(
            "all heads over pool heads, what a pass takes",
            found["all"][0] / found["pool"][0],
            "x",
            None,
            note,
        ),
        Row(
            "the same, the whole process",
            whole["all"] / whole["pool"],
            "x",
            None,
            ", ".join(f"{layers} {bytes_ / 1e9:.2f} GB" for layers, bytes_ in whole.items()),
        ),
    ]


def _peak(model: str, layers: str, batch: int) -> tuple[float, float]:
    code = f"from benchmarks.read_out_memory import peak; peak({model!r}, {layers!r}, {batch})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    taken, held = done.stdout.split()[-2:]
    return float(taken), float(held)


def peak(model: str, layers: str, batch: int) -> None:
    """Print the bytes that one pass takes at its peak, and those held before: model and batch."""
    device = pick_device()
    loaded = load_model(model, "none", "fp32", device)
    tower = loaded.tower
    decomposer = Decomposer(tower, head_frames(tower, loaded.record.layers_of(layers)))
    pixels = torch.randn(batch, 3, *loaded.record.preprocessing.image_size, device=device)
    with torch.inference_mode(), PeakMemory(device) as memory:
        decomposer(pixels)
    print(memory.bytes, memory.before)
