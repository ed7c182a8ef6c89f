"""Half precision beside single: a scan's time, and what it loses.

The bar of the time holds where the processor multiplies bfloat16 itself (AVX512-BF16, AMX) or a GPU
does; elsewhere half precision is emulated, and slow.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.encode import seconds
from benchmarks.rows import Row
from pipeline.heads.decompose import MIXED, Decomposer, Decomposition
from pipeline.heads.frames import head_frames
from pipeline.towers.models import LoadedModel, load_model, pick_device

MODEL, BATCH, ROUNDS = "ViT-B-16", 8, 3


def run(model: str = MODEL, batch: int = BATCH, rounds: int = ROUNDS) -> list[Row]:
    """Compare a scan in bf16 with `encode_image` and a scan in fp32, of the same random weights."""
    device = pick_device()
    exact, half = (load_model(model, "none", p, device) for p in ("fp32", "bf16"))
    pixels = torch.randn(batch, 3, *exact.record.preprocessing.image_size, device=device)
    low = pixels.to(half.dtype)
    whole, rough = _decomposer(exact), _decomposer(half)
    off = rough.check(low)
    plain, scan = [], []
    with torch.inference_mode():
        for _ in range(rounds + 1):
            plain.append(seconds(lambda: exact.clip.encode_image(pixels), device))
            scan.append(seconds(lambda: rough(low), device))
        expected, found = whole(pixels), rough(low)
    cosine = float(F.cosine_similarity(found.embedding, expected.embedding).min())
    ratio = statistics.median(scan[1:]) / statistics.median(plain[1:])
    note = f"{model}, batch {batch}, {device.type}, medians of {rounds}"
    fast = device.type == "cuda" or _multiplies_bfloat16()
    told = note if fast else f"{note}; no bar: this processor has no bfloat16 products"
    return [
        Row("bf16 scan over fp32 encode_image", ratio, "x", 0.7 if fast else None, told),
        Row("1 - cosine of the embedding with fp32's", 1 - cosine, "", 1e-4, note),
        Row("heads off, of their length", _off(rough, found, whole, expected), "", 0.01, note),
        Row("bf16 parts against the walk's own end", off, "", MIXED, note),
    ]


def _decomposer(loaded: LoadedModel) -> Decomposer:
    layers = loaded.record.layers_of(None)
    return Decomposer(loaded.tower, head_frames(loaded.tower, layers))


def _off(
    rough: Decomposer, found: Decomposition, whole: Decomposer, expected: Decomposition
) -> float:
    """Return the largest difference of a layer's heads, in the joint space, over their length."""
    pairs: Sequence[tuple[Tensor, Tensor]] = [
        (_joint(rough, found, layer), _joint(whole, expected, layer)) for layer in whole.layers
    ]
    return max(float((ours - theirs).norm() / theirs.norm()) for ours, theirs in pairs)


def _joint(decomposer: Decomposer, found: Decomposition, layer: int) -> Tensor:
    return torch.einsum("bhw,hjw->bhj", found.vectors[layer], decomposer.q[layer])


def _multiplies_bfloat16() -> bool:
    """Whether Linux says that the processor has AVX512-BF16 or AMX."""
    said = Path("/proc/cpuinfo")
    flags = said.read_text().split() if said.is_file() else []
    return bool({"avx512_bf16", "amx_bf16"} & set(flags))
