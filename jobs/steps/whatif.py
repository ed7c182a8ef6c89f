"""What-if accuracies: sets of heads switched off, over a whole scan, one shard in memory at a time.

The mean-ablated embedding differs from the stored one by Σ_S Q (vector − mean), so no model runs.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from jobs import console
from jobs.steps.opened import Opened
from pipeline.heads.ablation import project, shift
from pipeline.heads.stored_frames import Frames
from schemas.errors import UnknownName, UsageError
from schemas.names import head_name
from warehouse.files.layout import ScanDir
from warehouse.results.classifiers import Classifier
from warehouse.store.columns import READ, column, require_value, truth, values_there
from warehouse.store.means import Means
from warehouse.store.reading import matrix, read_head, read_images, read_layer

Head = tuple[int, int]
Key = tuple[str | None, ...]


@dataclass(frozen=True)
class GroupRow:
    """Accuracy of one group of pictures, as a share, in each of several cases."""

    group: Key
    n: int
    accuracy: tuple[float, ...]


@dataclass
class Tally:
    """Counts of pictures and of right answers by group, in each of several cases."""

    cases: int
    n: Counter[Key] = field(default_factory=Counter)
    hits: dict[Key, np.ndarray] = field(default_factory=dict)

    def add(
        self, keys: Sequence[Sequence[str | None]], hits: Bool[np.ndarray, "case image"]
    ) -> None:
        """Count pictures; `keys` names each one's group."""
        groups = [tuple(key) for key in keys]
        index = {key: i for i, key in enumerate(dict.fromkeys(groups))}
        codes = np.array([index[key] for key in groups], np.int64)
        for key, i in index.items():
            mine = hits[:, codes == i]
            self.n[key] += mine.shape[1]
            self.hits[key] = self.hits.get(key, np.zeros(self.cases, np.int64)) + mine.sum(axis=1)

    def rows(self) -> tuple[GroupRow, ...]:
        """Return one row per group, in order of its values."""
        order = sorted(self.n, key=lambda key: tuple(str(v) for v in key))
        return tuple(
            GroupRow(key, self.n[key], tuple((self.hits[key] / self.n[key]).tolist()))
            for key in order
        )

    def accuracy(self, case: int) -> float | None:
        """Return the accuracy over all pictures; None where there is none."""
        total = self.n.total()
        return float(sum(h[case] for h in self.hits.values()) / total) if total else None

    def worst(self, case: int) -> float:
        """Return the lowest group's accuracy."""
        return min(float(self.hits[key][case] / n) for key, n in self.n.items())


@dataclass(frozen=True)
class Scene:
    """What a streamed ablation reads.

    Attributes:
        opened: the scan.
        means: of all heads, over all pictures of the scan.
        label_column: where a picture's true class is.
        keep: pictures to count, by the value of a column; all, when None.
    """

    opened: Opened
    means: Means
    classifier: Classifier
    label_column: str
    group_by: tuple[str, ...]
    keep: tuple[str, str] | None = None

    @property
    def scan(self) -> ScanDir:
        """The scan's folder."""
        return self.opened.scan

    @property
    def shards(self) -> Sequence[str]:
        """The shards that are read."""
        return self.opened.shards

    @property
    def frames(self) -> Frames:
        """The scan's frames."""
        return self.opened.frames

    @property
    def heads(self) -> tuple[Head, ...]:
        """All stored heads, by layer and head."""
        return tuple(zip(self.means.layers, self.means.heads, strict=True))

    def space(self) -> Float[np.ndarray, "k d_joint"]:
        """Return the rows that heads are projected on: the weights, or all axes if fewer."""
        weights = self.classifier.weights
        return weights if weights.shape[0] <= weights.shape[1] else np.eye(weights.shape[1])

    def to_logits(self, points: Float[np.ndarray, "image k"]) -> Float[np.ndarray, "image class"]:
        """Return logits of points in `space`."""
        weights = self.classifier.weights
        return points if weights.shape[0] <= weights.shape[1] else points @ weights.T

    def frame(self, head: Head) -> Float[np.ndarray, "d_joint d_head"]:
        """Return a head's Q."""
        return self.opened.frame(*head)


def require_heads(scene: Scene, heads: Sequence[Head]) -> None:
    """Check that the scan stores these heads.

    Raises:
        UnknownName: it does not; the message lists the layers that it stores.
    """
    known = set(scene.heads)
    for head in heads:
        if head not in known:
            layers = sorted({layer for layer, _ in known})
            count = max(h for _, h in known) + 1
            raise UnknownName(
                f"no head {head_name(*head)} in scan {scene.scan.name!r}; there are layers "
                f"{', '.join(map(str, layers))}, heads 0 to {count - 1}"
            )


def ablate_sets(scene: Scene, sets: Sequence[Sequence[Head]]) -> Tally:
    """Count right answers with nothing ablated (case 0) and with each set ablated.

    Pictures whose label is no class are left out.

    Raises:
        UnknownName: a head that is not stored.
        UsageError: no picture has a label that is a class.
    """
    wanted = sorted({head for heads in sets for head in heads})
    require_heads(scene, wanted)
    space = scene.space()
    projected = {h: project(scene.frame(h)[None], space) for h in wanted}
    tally = Tally(len(sets) + 1)
    with console.progress("Ablating", len(scene.shards), "shards") as advance:
        for done, shard in enumerate(scene.shards, 1):
            _ablate_shard(scene, shard, sets, space, projected, tally)
            advance(done)
    require_counted(scene, tally)
    return tally


def means_over(scene: Scene, keep: tuple[str, str]) -> Means:
    """Return the means of all stored heads over the pictures with a column's value.

    Raises:
        UsageError: there is no such picture.
    """
    name, value = keep
    total, n = [np.zeros(mean.shape) for mean in scene.means.vectors], 0
    for shard in scene.shards:
        values = column(read_images(scene.scan, [shard], READ), name)
        rows = np.flatnonzero(np.array([v == value for v in values], bool))
        n += len(rows)
        if len(rows):
            layers = [read_layer(scene.scan, shard, int(i)) for i in scene.frames.layers]
            parts = [part for b in layers for part in b.vectors[:, rows].sum(1, np.float64)]
            total = [old + part for old, part in zip(total, parts, strict=True)]
    if not n:
        there = values_there(scene.scan, scene.shards, name, value)
        raise UsageError(f"no picture of scan {scene.scan.name!r} has {name}={value}; {there}")
    return Means(n, scene.means.layers, scene.means.heads, tuple(sums / n for sums in total))


def require_counted(scene: Scene, tally: Tally) -> None:
    """Check that some picture was counted.

    Raises:
        UsageError: none was, with what the labels are and ought to be.
    """
    if not tally.n:
        require_value(scene.scan, scene.shards, scene.keep)
        where = f" with {scene.keep[0]}={scene.keep[1]}" if scene.keep else ""
        raise UsageError(
            f"no picture of scan {scene.scan.name!r}{where} has in column "
            f"{scene.label_column!r} one of the labels of classifier {scene.classifier.name!r}: "
            f"{', '.join(scene.classifier.labels[:6])}; see --label-column of headatlas zeroshot"
        )


@dataclass(frozen=True)
class Counted:
    """The pictures of a shard that count: which rows they are, their classes and groups."""

    rows: np.ndarray
    truth: np.ndarray
    keys: list[list[str | None]]
    points: np.ndarray


def counted(scene: Scene, shard: str, space: Float[np.ndarray, "k d_joint"]) -> Counted:
    """Read the pictures of a shard that have a class and pass `keep`, as points of `space`."""
    rows = read_images(scene.scan, [shard], [*READ, "embedding"])
    if not rows.num_rows:
        nothing = np.empty(0, np.int64)
        return Counted(nothing, nothing, [], np.empty((0, len(space)), np.float32))
    own = truth(rows, scene.label_column, scene.classifier.labels)
    kept = own >= 0
    if scene.keep is not None:
        name, value = scene.keep
        kept &= np.array([v == value for v in column(rows, name)], bool)
    index = np.flatnonzero(kept)
    columns = [column(rows, name) for name in scene.group_by]
    points = matrix(rows["embedding"])[index] @ space.T.astype(np.float32)
    return Counted(index, own[index], [[c[i] for c in columns] for i in index], points)


def _ablate_shard(
    scene: Scene,
    shard: str,
    sets: Sequence[Sequence[Head]],
    space: Float[np.ndarray, "k d_joint"],
    projected: dict[Head, Float[np.ndarray, "one d_head k"]],
    tally: Tally,
) -> None:
    found = counted(scene, shard, space)
    if not len(found.rows):
        return
    shifts = [np.zeros_like(found.points) for _ in sets]
    for head, frame in projected.items():
        _, vectors = read_head(scene.scan, [shard], *head)
        effect = shift(vectors[None, found.rows], scene.means.of(*head)[None], frame)
        for total, heads in zip(shifts, sets, strict=True):
            if head in heads:
                total += effect
    hits = [scene.to_logits(found.points).argmax(axis=1) == found.truth]
    for total in shifts:
        hits.append(scene.to_logits(found.points - total).argmax(axis=1) == found.truth)
    tally.add(found.keys, np.stack(hits))


def random_sets(
    heads: Sequence[Head], chosen: Sequence[Head], repeats: int, seed: int
) -> list[list[Head]]:
    """Draw sets of as many heads as are chosen, among the others where there are enough."""
    others = [h for h in heads if h not in set(chosen)]
    pool = others if len(others) >= len(chosen) else list(heads)
    rng = np.random.default_rng(seed)
    return [
        [pool[i] for i in sorted(rng.choice(len(pool), len(chosen), replace=False).tolist())]
        for _ in range(repeats)
    ]


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and sample standard deviation; the latter 0 for one value."""
    array = np.asarray(values, np.float64)
    return float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else 0.0
