"""Compare pools: accuracy and explained variance with heads projected onto their texts."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from pydantic import BeforeValidator, Field

from jobs import console
from jobs.steps.figures import save_figure
from jobs.steps.models import load_for, pool_embeddings
from jobs.steps.opened import Opened, open_scan
from pipeline.heads.textspan import PerHead, textspan
from pipeline.texts.pool_compare import PCA, Point, kept_variance, lost_logits, principal, spans
from pipeline.texts.zeroshot import label_prompt
from schemas.config import Config, split_numbers
from schemas.errors import UsageError
from schemas.text import how_many
from warehouse.files.layout import Warehouse
from warehouse.results.files import write_result
from warehouse.store.columns import column, require_columns, truth
from warehouse.store.pools import read_pool
from warehouse.store.reading import matrix, read_images, read_layer

ARGUMENTS = ("pools",)


class PoolCompareConfig(Config):
    """Options of `headatlas pool compare`."""

    pools: tuple[str, ...] = Field(description="Description pools.")
    warehouse: Path = Field(description="Folder of the warehouse.")
    out: Path = Field(description="Picture to draw: .png, .svg or .pdf.")
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
    m: Annotated[tuple[int, ...], BeforeValidator(split_numbers)] = Field(
        default=(5, 10, 20, 30, 60), description="Texts per head, as 10,20,60."
    )
    label_column: str = Field(
        default="label", description="Where a picture's class is: label, or a metadata column."
    )
    template: str = Field(default="a photo of a {}.", description="Prompt of a class.")
    model: str | None = Field(default=None, description="Model, when its files have moved.")
    pretrained: str | None = Field(default=None, description="Weights, when they have moved.")


@dataclass(frozen=True)
class Comparison:
    """What each pool keeps, and where table and plot are.

    Attributes:
        points: one per pool and m, PCA last.
        baseline: accuracy with nothing replaced.
        ablated: accuracy with every head replaced by its mean.
        images: pictures whose label is a class.
    """

    points: tuple[Point, ...]
    baseline: float
    ablated: float
    images: int
    table: Path
    plot: Path


Directions = dict[str, list[Float[np.ndarray, "rank _"]]]


def run(config: PoolCompareConfig) -> Comparison:
    """Replace every stored head by its projection onto each pool's basis, and classify.

    Raises:
        UnknownName: no such scan, pool or label column.
        UsageError: the file is no picture's, or fewer than two classes are known.
    """
    if config.out.suffix not in (".png", ".svg", ".pdf"):
        raise UsageError(f"--out {config.out}: expected a name that ends in .png, .svg or .pdf")
    warehouse = Warehouse(config.warehouse)
    opened = open_scan(warehouse, config.scan)
    covariance = [opened.covariance(*head) for head in opened.framed]
    widest = max(len(sigma) for sigma in covariance)
    sizes = sorted({min(m, widest) for m in config.m})
    directions = _directions(config, opened, covariance, sizes[-1])
    labels, weights = _classifier(config, opened)
    correct, images = _classified(opened, directions, sizes, labels, weights, config)
    points = tuple(
        Point(name, m, kept, float(correct[name][i]) / images)
        for name, found in directions.items()
        for i, (m, kept) in enumerate(
            zip(sizes, kept_variance(covariance, found, sizes), strict=True)
        )
    )
    done = Comparison(
        points,
        float(correct[""][0]) / images,
        float(correct[""][1]) / images,
        images,
        config.out.with_suffix(".parquet"),
        config.out,
    )
    _store(done, config, opened.snapshot.number)
    _draw(done)
    return done


def say(config: PoolCompareConfig, done: Comparison) -> None:
    """Print what each pool keeps."""
    rows = [(p.pool, p.m, p.explained, p.accuracy) for p in done.points]
    console.table("Pools", ("pool", "m", "explained variance", "accuracy"), rows)
    console.note(
        f"over {how_many(done.images, 'picture')}: {done.baseline:.1%} right with heads as they "
        "are, "
        f"{done.ablated:.1%} with every head at its mean; plot in {done.plot}, table in "
        f"{done.table}"
    )


def _directions(
    config: PoolCompareConfig,
    opened: Opened,
    covariance: PerHead,
    steps: int,
) -> Directions:
    frames_q = [opened.frame(*head) for head in opened.framed]
    warehouse = opened.warehouse
    found: Directions = {}
    for name in config.pools:
        pool = read_pool(warehouse, name)
        texts = pool_embeddings(warehouse, pool, opened.record, config.model, config.pretrained)
        found[name] = spans(textspan(covariance, frames_q, texts, steps))
    found[PCA] = principal(covariance, steps)
    return found


def _classifier(
    config: PoolCompareConfig, opened: Opened
) -> tuple[list[str], Float[np.ndarray, "class d_joint"]]:
    require_columns(opened.scan, opened.shards, [config.label_column])
    known: set[str] = set()
    for shard in opened.shards:
        rows = read_images(opened.scan, [shard], ["label", "metadata"])
        known.update(v for v in column(rows, config.label_column) if v)
    if len(known) < 2:
        raise UsageError(
            f"column {config.label_column!r} has {how_many(len(known), 'class')}; expected two "
            "or more: "
            "give another --label-column"
        )
    labels = sorted(known)
    model = load_for(opened.record, config.model, config.pretrained)
    from pipeline.texts.class_weights import class_weights

    names = [label_prompt(label) for label in labels]
    return labels, class_weights(model.encode_text, names, (config.template,))


def _classified(
    opened: Opened,
    directions: Directions,
    sizes: list[int],
    labels: list[str],
    weights: Float[np.ndarray, "class d_joint"],
    config: PoolCompareConfig,
) -> tuple[dict[str, Int[np.ndarray, " size"]], int]:
    """Count right answers per pool and m; under the name `` with nothing and all replaced."""
    correct = {name: np.zeros(len(sizes), np.int64) for name in directions}
    correct[""], images = np.zeros(2, np.int64), 0
    scan, shards, moments, frames = opened.scan, opened.shards, opened.moments, opened.frames
    n_heads, width = frames.q.shape[1], frames.q.shape[3]
    nothing = np.zeros((n_heads, 0, width))
    with console.progress("Comparing pools", len(shards), "shards") as advance:
        for done, shard in enumerate(shards, 1):
            rows = read_images(scan, [shard], ["label", "metadata", "embedding"])
            right = truth(rows, config.label_column, labels)
            logits = matrix(rows["embedding"]) @ weights.T
            left = {name: np.repeat(logits[None], len(sizes), axis=0) for name in directions}
            bare = logits.copy()
            for i, layer in enumerate(opened.record.layers if len(rows) else ()):
                vectors = read_layer(scan, shard, layer).vectors
                means = np.stack([moments["head", layer, h].mean for h in range(n_heads)])
                projected = np.matmul(weights, frames.q[i])
                here = slice(i * n_heads, (i + 1) * n_heads)
                for name, spanned in directions.items():
                    left[name] -= lost_logits(vectors, means, spanned[here], projected, sizes)
                bare -= lost_logits(vectors, means, nothing, projected, [0])[0]
            for name, found in left.items():
                correct[name] += (found.argmax(axis=2) == right).sum(axis=1)
            correct[""] += [(x.argmax(axis=1) == right).sum() for x in (logits, bare)]
            images += int((right >= 0).sum())
            advance(done)
    if not images:
        raise UsageError(f"no picture has a value in column {config.label_column!r}")
    return correct, images


def _store(done: Comparison, config: PoolCompareConfig, snapshot: int) -> None:
    columns = ("pool", "m", "explained", "accuracy")
    table = pa.table({name: [getattr(p, name) for p in done.points] for name in columns})
    provenance = {
        "snapshot": snapshot,
        "baseline": done.baseline,
        "ablated": done.ablated,
        "images": done.images,
        "options": config.model_dump(mode="json", exclude={"warehouse", "out"}),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_result(done.table, table, provenance)


def _draw(done: Comparison) -> None:
    """Draw accuracy and explained variance over m, one line per pool."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name in dict.fromkeys(p.pool for p in done.points):
        points = [p for p in done.points if p.pool == name]
        style = {"color": "black", "linestyle": "--"} if name == PCA else {"marker": "o"}
        m = [p.m for p in points]
        left.plot(m, [p.accuracy for p in points], label=name, markersize=4, **style)
        right.plot(m, [p.explained for p in points], label=name, markersize=4, **style)
    left.axhline(done.baseline, color="grey", linewidth=0.8)
    left.annotate(
        "heads as they are",
        (0.02, done.baseline),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        fontsize=8,
        color="grey",
    )
    left.set(xlabel="texts per head, m", ylabel="zero-shot accuracy")
    right.set(xlabel="texts per head, m", ylabel="share of the heads' variance", ylim=(0, 1.02))
    right.legend(frameon=False, fontsize=9)
    for axes in (left, right):
        axes.set_xticks(sorted({p.m for p in done.points}))
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, done.plot, dpi=150)
