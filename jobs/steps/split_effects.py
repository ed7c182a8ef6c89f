"""The pictures of one split with every head's effect on their logits, held in memory."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from jobs import console
from jobs.steps.whatif import Scene, Tally, counted, require_counted
from pipeline.heads.ablation import project, shift
from schemas.errors import UsageError
from schemas.text import how_many
from warehouse.store.reading import read_layer

# Numbers of the select split's logits by head: 0.8 GB.
MOST_EFFECTS = 200_000_000


@dataclass(frozen=True)
class Split:
    """The pictures of a split: logits, heads' centred parts of them, classes and attribute."""

    logits: Float[np.ndarray, "image class"]
    effects: Float[np.ndarray, "head image class"]
    truth: Int[np.ndarray, " image"]
    attribute: Int[np.ndarray, " image"]


def read_split(scene: Scene) -> Split:
    """Read every head's effect on the pictures of one split.

    Raises:
        UsageError: there is no such picture, they share one attribute value, or are too many.
    """
    weights = scene.classifier.weights
    shards = [(shard, counted(scene, shard, weights)) for shard in scene.shards]
    shards = [(shard, found) for shard, found in shards if len(found.rows)]
    tally = Tally(1)
    for _, found in shards:
        tally.add(found.keys, np.zeros((1, len(found.rows)), bool))
    require_counted(scene, tally)
    n, classes = tally.n.total(), len(weights)
    if n * len(scene.heads) * classes > MOST_EFFECTS:
        raise UsageError(
            f"--select keeps {how_many(n, 'picture')}; {len(scene.heads)} heads x {classes} "
            "classes of at "
            f"most {MOST_EFFECTS // (len(scene.heads) * classes):,} pictures can be held: "
            "select fewer"
        )
    values = [str(key[1]) for _, found in shards for key in found.keys]
    names = sorted(set(values))
    if len(names) < 2:
        raise UsageError(
            f"attribute {scene.group_by[1]!r} is {names[0]!r} in all {how_many(n, 'picture')} of "
            "--select; "
            "expected two values or more"
        )
    effects = np.empty((len(scene.heads), n, classes), np.float32)
    start = 0
    with console.progress("Reading heads", len(shards), "shards") as advance:
        for done, (shard, found) in enumerate(shards, 1):
            rows = slice(start, start + len(found.rows))
            _read_effects(scene, shard, found.rows, effects[:, rows])
            start = rows.stop
            advance(done)
    return Split(
        np.concatenate([found.points for _, found in shards]),
        effects,
        np.concatenate([found.truth for _, found in shards]),
        np.array([names.index(v) for v in values], np.int64),
    )


def _read_effects(
    scene: Scene,
    shard: str,
    rows: Int[np.ndarray, " image"],
    out: Float[np.ndarray, "head image class"],
) -> None:
    at = 0
    for layer, (q, _) in scene.frames.pairs.items():
        block = read_layer(scene.scan, shard, layer)
        projected = project(q, scene.classifier.weights)
        for head, frame in enumerate(projected):
            mean = scene.means.of(layer, head)
            out[at] = shift(block.vectors[head : head + 1, rows], mean[None], frame[None])
            at += 1
