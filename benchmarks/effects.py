"""`effects` of every head of the small CLIP, end to end; and how well AtP stands for the whole.

2,000 pictures of the demo's world and 35 classes, each less the mean of the others, are measured
exactly by the command (files read, model run, tables written; components' means were kept by the
scan); on some of them both methods are. The correlation of both is over heads, targets and
pictures, by layer; beside it that of texts as they are, and of the two first orders (AtP and
GradDrop), which have no bar: they are what the command's atp is better than.
"""

import csv
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from benchmarks.rows import Row
from demo.model import CONFIG, WEIGHTS
from demo.world import materialise
from jobs.commands import effects, scan, zeroshot
from jobs.commands.effects import EffectsConfig
from jobs.commands.scan import ScanConfig
from jobs.commands.zeroshot import ZeroShotConfig
from pipeline.heads.effects import all_heads, attributed_effects, passes, total_effects
from pipeline.heads.integrated import integrated_effects
from pipeline.heads.position_means import Layers, PositionSums, decomposer_for, parts_of
from pipeline.towers.models import LoadedModel, load_model

PICTURES, CHECKED, TIMED, ROUNDS = 2_000, 64, 32, 5
TEXTS = (
    *("a red bird", "a photo of a car", "two dogs in the snow"),
    *("a blue fish in the water", "a flower in the grass"),
)


def run(work: Path) -> list[Row]:
    """Measure the command's time, a pass's, and the correlations."""
    listing = materialise("test", work / "pictures", PICTURES)
    root = work / "warehouse"
    scan.run(
        ScanConfig(
            source=str(listing),
            path_column="img_filename",
            root=str(work / "pictures"),
            labels="kind",
            model=str(CONFIG),
            pretrained=str(WEIGHTS),
            warehouse=root,
            scan="world",
            store=("means",),
            workers=0,
        )
    )
    named = zeroshot.run(ZeroShotConfig(warehouse=root, classes="labels", classifier="kinds"))
    asked = EffectsConfig(warehouse=root, classifier="kinds", sample=PICTURES, check=CHECKED)
    started = time.perf_counter()
    done = effects.run(asked)
    minutes = (time.perf_counter() - started) / 60
    note = (
        f"{done.heads} heads, {done.images:,} pictures, {named.classes} classes, {CHECKED} by both"
    )
    rows = [Row("effects, files to tables", minutes, "min", 3.0, note)]
    loaded = load_model(str(CONFIG), str(WEIGHTS))
    rows += _correlations("classes", done.atp_r, 0.05)
    pixels = _pixels(loaded, listing)
    rows.append(_pass(loaded, pixels[:TIMED]))
    return [*rows, *_texts(loaded, pixels)]


def _correlations(what: str, by_layer: dict[int, float], bar: float | None) -> list[Row]:
    """Return a row a layer; a bar is for the largest value, so r is subtracted from 1."""
    note = f"{what}: over heads, targets and {CHECKED} pictures"
    return [Row(f"1 - r of atp, layer {n}", 1 - r, "", bar, note) for n, r in by_layer.items()]


def _pixels(loaded: LoadedModel, listing: Path) -> Float[Tensor, "image 3 height width"]:
    with listing.open() as stream:
        names = [row["img_filename"] for row in csv.DictReader(stream)][:CHECKED]
    opened = (Image.open(listing.parent / name).convert("RGB") for name in names)
    return torch.stack([loaded.transform(picture) for picture in opened])


def _pass(loaded: LoadedModel, pixels: Float[Tensor, "image 3 height width"]) -> Row:
    """Time all total effects for each pass of the formula, against a plain forward pass."""
    tower = loaded.tower
    heads, sums = all_heads(tower), _sums(loaded, pixels)
    plain, whole = [], []
    with torch.inference_mode():
        for _ in range(ROUNDS + 1):
            started = time.perf_counter()
            loaded.clip.encode_image(pixels)
            plain.append(time.perf_counter() - started)
            started = time.perf_counter()
            total_effects(tower, pixels, sums, heads)
            whole.append(time.perf_counter() - started)
    formula = passes(tower.n_layers, heads)
    ratio = statistics.median(whole[1:]) / statistics.median(plain[1:]) / formula
    note = f"{formula:.1f} passes a picture by the formula, {len(pixels)} pictures"
    return Row("a pass of effects over encode_image", ratio, "x", 1.3, note)


def _sums(loaded: LoadedModel, pixels: Float[Tensor, "image 3 height width"]) -> PositionSums:
    layers, sums = Layers(range(loaded.tower.n_layers)), PositionSums()
    decomposer = decomposer_for(loaded.tower, layers)
    for batch in pixels.split(TIMED):
        sums.add(parts_of(decomposer, batch, layers)[0])
    return sums


def _texts(loaded: LoadedModel, pixels: Float[Tensor, "image 3 height width"]) -> list[Row]:
    """Return the correlations for texts as they are, of what the command does and first orders."""
    tower, targets = loaded.tower, loaded.encode_text(list(TEXTS)).clone()
    heads, sums = all_heads(tower), _sums(loaded, pixels)
    bars = {"texts": 0.05, "texts, first order": None, "texts, GradDrop": None}
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("exact", *bars)}
    for batch in pixels.split(TIMED):
        ends = total_effects(tower, batch, sums, heads)
        found["exact"].append((ends @ targets.T).numpy())
        found["texts"].append(integrated_effects(tower, batch, sums, heads, targets).numpy())
        for what, dropout in (("texts, first order", False), ("texts, GradDrop", True)):
            first = attributed_effects(tower, batch, sums, heads, targets, gradient_dropout=dropout)
            found[what].append(first.numpy())
    exact, *others = (np.concatenate(parts) for parts in found.values())
    rows = []
    for (what, bar), first in zip(bars.items(), others, strict=True):
        by_layer = {
            layer: float(np.corrcoef(exact[:, some].ravel(), first[:, some].ravel())[0, 1])
            for layer, some in enumerate(np.split(np.arange(exact.shape[1]), tower.n_layers))
        }
        rows += _correlations(what, by_layer, bar)
    return rows
