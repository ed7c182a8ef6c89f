"""Photograph-sized JPEGs: what scaling while decoding gains, and what it changes.

The pictures are drawn: scenes of the demo's world, each over rough noise whose power falls as that
of photographs does (1/f), with hard edges and grain, at 4000 x 3000 and quality 90.
"""

import io
import statistics
import time
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw

from benchmarks.rows import Row
from demo.model import CONFIG, WEIGHTS
from pipeline.heads.decompose import Decomposer
from pipeline.heads.frames import head_frames
from pipeline.pictures.decode import EXACT, Decoding, decode
from pipeline.pictures.loader import by_table
from pipeline.towers.models import LoadedModel, load_model

SIZE = (4000, 3000)
MODELS = ((str(CONFIG), str(WEIGHTS)), ("ViT-B-32", "none"))
MARGINS = (1, 1.5, 2, 3)
# Of the time that exact decoding takes, at the margin that scans use.
BAR = 0.4


def run(pictures: int = 8) -> list[Row]:
    """Decode and embed each picture whole and scaled."""
    files = [photograph(seed) for seed in range(pictures)]
    rows = []
    for model, weights in MODELS:
        loaded = load_model(model, weights, "fp32", torch.device("cpu"))
        side = max(loaded.record.preprocessing.image_size)
        whole, exact = _embed(loaded, files, EXACT)
        for margin in MARGINS:
            rate, scaled = _embed(loaded, files, Decoding(reach=int(margin * side)))
            cosines = (exact[0] * scaled[0]).sum(-1)
            heads = _relative(exact[1], scaled[1])
            note = (
                f"{loaded.record.model} at {side}, {len(files)} of 12 MP; {whole:.1f} to "
                f"{rate:.1f} pictures a CPU second; cosine {cosines.min():.6f} at least, "
                f"{cosines.mean():.6f} mean; heads differ by {heads:.2%}"
            )
            name = f"scaled to {margin:g} x the input over exact, time"
            rows.append(Row(name, whole / rate, "x", BAR if margin == 2 else None, note))
    return rows


def photograph(seed: int) -> bytes:
    """Return a JPEG of 12 megapixels with the spectrum, edges and grain of a photograph."""
    rng = np.random.default_rng(seed)
    width, height = SIZE
    total = np.full((height, width, 3), 0.5, np.float32)
    for octave in range(2, 11):
        cells = 2**octave
        rough = rng.standard_normal((max(2, cells * 3 // 4), cells, 3)).astype(np.float32)
        for channel in range(3):
            layer = Image.fromarray(rough[..., channel]).resize(SIZE, Image.Resampling.BICUBIC)
            total[..., channel] += 0.5 / cells * 2 * np.asarray(layer)
    picture = Image.fromarray((np.clip(total, 0, 1) * 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(30):
        x, y = rng.integers(0, width), rng.integers(0, height)
        r = int(rng.integers(20, 900))
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        shape = (x - r, y - r * rng.uniform(0.2, 1), x + r, y + r * rng.uniform(0.2, 1))
        (draw.ellipse if rng.random() < 0.5 else draw.rectangle)(shape, fill=colour)
    grain = rng.standard_normal((height, width, 1)).astype(np.float32) * 4
    grained = np.clip(np.asarray(picture, np.float32) + grain, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(grained).save(out, "JPEG", quality=90)
    return out.getvalue()


def _embed(
    loaded: LoadedModel, files: Sequence[bytes], how: Decoding
) -> tuple[float, tuple[torch.Tensor, list[torch.Tensor]]]:
    """Return pictures a second on one core, the unit embeddings, and the heads' vectors."""
    transform = by_table(loaded.transform)
    pixels, seconds = [], []
    for data in files:
        started = time.process_time()
        pixels.append(transform(decode(data, how)))
        seconds.append(time.process_time() - started)
    layers = tuple(range(loaded.record.n_layers))
    decomposer = Decomposer(loaded.tower, head_frames(loaded.tower, layers))
    with torch.inference_mode():
        found = decomposer(torch.stack(pixels))
    vectors = [found.vectors[layer] for layer in layers]
    return 1 / statistics.median(seconds), (found.embedding, vectors)


def _relative(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> float:
    """Return the root mean square difference of heads' vectors over their spread."""
    apart = sum(float((a - b).square().sum()) for a, b in zip(one, other, strict=True))
    spread = sum(float((a - a.mean(0)).square().sum()) for a in one)
    return (apart / spread) ** 0.5
