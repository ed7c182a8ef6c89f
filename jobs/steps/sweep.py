"""The paper's ablations (section 3.2 and 4): which layers the prediction really hangs on.

Attention layers are ablated as all of their heads; the output biases, which only vary with the
scale, stay. Only direct effects are taken away: later layers still see what was ablated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from jobs import console
from jobs.steps.figures import save_figure
from jobs.steps.whatif import Scene, Tally, counted, require_counted
from pipeline.heads.ablation import project, shift
from schemas.errors import UsageError
from warehouse.store.means import Means
from warehouse.store.reading import read_layer, read_mlp

Kind = Literal["none", "mlps", "attention", "last"]


@dataclass(frozen=True)
class SweepRow:
    """Accuracy in one case.

    Attributes:
        kind: `none`; `mlps`, all MLPs mean-ablated; `attention`, all heads of layers 0 to `layers`
            - 1; `last`, all MLPs and all heads but those of the last `layers` layers.
        layers: as above; 0 where it does not apply.
        accuracy: as a share.
    """

    kind: Kind
    layers: int
    accuracy: float


def sweep(scene: Scene) -> tuple[int, tuple[SweepRow, ...]]:
    """Return the number of pictures counted, and accuracy in every case.

    Raises:
        UsageError: the scan does not store all layers and MLPs.
    """
    record = scene.scan.load_record()
    n_layers = record.model.n_layers
    if "mlp" not in record.stored or len(record.layers) < n_layers:
        layers = ", ".join(map(str, record.layers))
        raise UsageError(
            f"scan {scene.scan.name!r} stores {' and '.join(record.stored)} of layers {layers}; "
            f"--sweep needs all {n_layers} layers and the MLPs: scan with --layers all --store mlp "
            "under another --scan name"
        )
    cases: list[tuple[Kind, int]] = [("none", 0), ("mlps", 0)]
    cases += [("attention", n + 1) for n in range(n_layers)]
    cases += [("last", n) for n in range(n_layers + 1)]
    mlp_means = scene.opened.means("mlp")
    space = scene.space()
    projected = [project(q, space) for q, _ in scene.frames.pairs.values()]
    tally = Tally(len(cases))
    with console.progress("Sweeping", len(scene.shards), "shards") as advance:
        for done, shard in enumerate(scene.shards, 1):
            _sweep_shard(scene, shard, space, projected, mlp_means, cases, tally)
            advance(done)
    require_counted(scene, tally)
    rows = [SweepRow(kind, n, tally.accuracy(i) or 0.0) for i, (kind, n) in enumerate(cases)]
    return tally.n.total(), tuple(rows)


def _sweep_shard(
    scene: Scene,
    shard: str,
    space: Float[np.ndarray, "k d_joint"],
    projected: Sequence[Float[np.ndarray, "n_heads d_head k"]],
    mlp_means: Means,
    cases: Sequence[tuple[Kind, int]],
    tally: Tally,
) -> None:
    found = counted(scene, shard, space)
    if not len(found.rows):
        return
    down = space.T.astype(np.float32)
    mlps = np.zeros_like(found.points)
    attention = [np.zeros_like(found.points)]
    for at, layer in enumerate(scene.frames.layers.tolist()):
        block = read_layer(scene.scan, shard, layer)
        means = np.stack([scene.means.of(layer, h) for h in range(len(block.vectors))])
        taken = shift(block.vectors[:, found.rows], means, projected[at])
        attention.append(attention[-1] + taken)
        vectors = read_mlp(scene.scan, shard, layer)[found.rows].astype(np.float32)
        mlps += (vectors - mlp_means.of(layer, -1).astype(np.float32)) @ down
    hits = []
    for kind, n in cases:
        left = found.points
        if kind in ("mlps", "last"):
            left = left - mlps
        if kind == "attention":
            left = left - attention[n]
        if kind == "last":
            left = left - attention[len(attention) - 1 - n]
        hits.append(scene.to_logits(left).argmax(axis=1) == found.truth)
    tally.add([[] for _ in found.rows], np.stack(hits))


def plot(rows: Sequence[SweepRow], path: Path, title: str) -> None:
    """Draw accuracy against layers as a PNG."""
    one = {row.kind: row.accuracy for row in rows if row.kind in ("none", "mlps")}
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(one["none"], color="black", linewidth=1, label="nothing ablated")
    axes.axhline(one["mlps"], color="grey", linestyle="--", linewidth=1, label="all MLPs ablated")
    for kind, label, colour in (
        ("attention", "attention of the first n layers ablated", "tab:red"),
        ("last", "only heads of the last n layers kept", "tab:blue"),
    ):
        points = [(row.layers, row.accuracy) for row in rows if row.kind == kind]
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, color=colour, label=label)
    axes.set(xlabel="n layers", ylabel="zero-shot accuracy", title=title, ylim=(0, 1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    save_figure(figure, path, dpi=120)
