"""Find the heads that carry a cue, choose a set to switch off, and judge it on a test split.

Heads are ranked by what their logits say of the attribute against the target, a set is chosen on
one split of the pictures, and judged on another, beside random sets of as many heads.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from pydantic import Field

from jobs import console
from jobs.commands import zeroshot
from jobs.commands.zeroshot import ZeroShotConfig
from jobs.steps.ablated import Ablated, group_rows, open_scene, total_row, worst_row
from jobs.steps.accuracies import SHOWN, show_ablated
from jobs.steps.whatif import Head, Scene, Tally, ablate_sets, counted, random_sets, require_counted
from pipeline.heads.ablation import (
    Choice,
    CueScores,
    attribute_against_target,
    choose_greedily,
    project,
    shift,
)
from schemas.config import Config
from schemas.errors import UsageError
from schemas.kinds import Part
from schemas.names import check_name, head_name, safe_name
from schemas.results import KINDS
from schemas.results.spurious_heads import SPURIOUS_HEADS, spurious_heads_schema
from warehouse.files.layout import Warehouse
from warehouse.results.claims import Now
from warehouse.results.files import write_result
from warehouse.results.roles import heads_of_role
from warehouse.store.columns import condition
from warehouse.store.reading import read_layer

PUBLISHES = True


class SpuriousConfig(Config):
    """Options of `headatlas spurious`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    classifier: str = Field(
        default="", description="Zero-shot classifier of the target; default, that of --classes."
    )
    classes: str | None = Field(
        default=None,
        description="Make that classifier first, of these classes; as zeroshot takes them.",
    )
    templates: str = Field(default="openai", description="For --classes; as in zeroshot.")
    attribute: str = Field(description="Column that ought not to matter, as place.")
    target: str | None = Field(
        default=None, description="Column of the true class; default, the classifier's."
    )
    select: str = Field(
        default="split=1", description="Pictures to choose heads on, as COLUMN=VALUE."
    )
    test: str = Field(default="split=2", description="Pictures to judge the choice on.")
    role: str | None = Field(
        default=None, description="Also judge the set of all heads that carry this role."
    )
    basis: str | None = Field(default=None, description="TextSpan basis of the role; any.")
    most: int = Field(default=8, ge=1, description="Most heads to choose.")
    candidates: int = Field(default=32, ge=1, description="Heads to choose among, by score.")
    tolerance: float = Field(
        default=0.01, ge=0, le=1, description="How much accuracy over all pictures may lose."
    )
    control: int = Field(default=10, ge=0, description="Random sets of as many heads.")
    seed: int = Field(default=0, description="Seed of the random sets.")
    name: str | None = Field(
        default=None, description="Name of the result; default, CLASSIFIER-ATTRIBUTE."
    )
    scan: str | None = Field(default=None, description="Scan; default, the newest.")


# Numbers of the select split's logits by head: 0.8 GB.
MOST_EFFECTS = 200_000_000


@dataclass(frozen=True)
class RankedHead:
    """A head and what it says; see `pipeline.heads.ablation.CueScores`."""

    name: str
    score: float
    about_attribute: float
    about_target: float
    chosen: bool


@dataclass(frozen=True)
class Outcome:
    """A set of heads, judged on the test pictures.

    Attributes:
        by: `greedy`, or the role.
        gap_closed: share of the worst group's gap to the mean that it gains; None without a gap.
    """

    by: str
    heads: tuple[str, ...]
    groups: tuple[Ablated, ...]
    total: Ablated
    worst: Ablated
    gap_closed: float | None


@dataclass(frozen=True)
class SpuriousResult:
    """Heads that carry a cue, and what switching them off does.

    Attributes:
        heads: all stored heads, the highest score first.
        selected: worst group's accuracy on the select pictures, before and after each step.
        outcomes: of the greedy choice; then of the role, when one is given.
    """

    scan: str
    classifier: str
    attribute: str
    heads: tuple[RankedHead, ...]
    selected: tuple[float, ...]
    outcomes: tuple[Outcome, ...]
    path: Path
    seconds: float


def run(config: SpuriousConfig) -> SpuriousResult:
    """Rank heads, choose a set on the select pictures, judge it on the test pictures, store it.

    Raises:
        UnknownName: no such scan, classifier, column or role.
        UsageError: no picture in a split, or too many for the memory; or neither a classifier nor
            classes to make one of.
    """
    started = time.perf_counter()
    config = _with_classifier(config)
    scene = _scene(config, config.select)
    test = _scene(config, config.test)
    sets: dict[str, tuple[Head, ...]] = {}
    if config.role is not None:
        sets[config.role] = heads_of_role(scene.scan, config.role, config.basis)
    split = read_split(scene)
    scores = attribute_against_target(split.logits, split.effects, split.attribute, split.truth)
    order = np.argsort(-scores.score, kind="stable")
    choice = choose_greedily(
        split.logits,
        split.effects,
        split.truth,
        split.truth * (int(split.attribute.max()) + 1) + split.attribute,
        candidates=[i for i in order[: config.candidates].tolist() if scores.score[i] > 0],
        most=config.most,
        tolerance=config.tolerance,
    )
    sets = {"greedy": tuple(scene.heads[i] for i in choice.heads), **sets}
    outcomes = judge(test, sets, config.control, config.seed)
    path = _store(config, scene, scores, order, choice)
    ranked = tuple(
        RankedHead(
            head_name(*scene.heads[i]),
            float(scores.score[i]),
            float(scores.about_attribute[i]),
            float(scores.about_target[i]),
            i in choice.heads,
        )
        for i in order.tolist()
    )
    return SpuriousResult(
        scene.scan.name,
        config.classifier,
        config.attribute,
        ranked,
        choice.worst,
        outcomes,
        path,
        time.perf_counter() - started,
    )


def say(config: SpuriousConfig, done: SpuriousResult) -> None:
    """Print the heads by score, and what switching the chosen ones off does."""
    ranked = [
        (h.name, h.score, h.about_attribute, h.about_target, "yes" if h.chosen else "")
        for h in done.heads[:SHOWN]
    ]
    console.table(
        f"Heads by what they say of {done.attribute}",
        ("head", "score", "about attribute", "about target", "chosen"),
        ranked,
    )
    for outcome in done.outcomes:
        title = f"Chosen by {outcome.by}: {', '.join(outcome.heads) or 'no head'}"
        columns = (config.target or "target", config.attribute)
        show_ablated(title, columns, outcome.groups, outcome.total, outcome.worst)
        if outcome.gap_closed is not None:
            console.note(
                f"{outcome.by}: the worst group gains {outcome.gap_closed:.0%} of its gap to the "
                f"mean; the mean changes by {outcome.total.after - outcome.total.before:+.1%}"
            )


def _with_classifier(config: SpuriousConfig) -> SpuriousConfig:
    """Make the classifier where classes are given."""
    if config.classes is None:
        if not config.classifier:
            raise UsageError(
                "no classifier: give --classifier NAME of one that zeroshot made, or --classes, as "
                "0=landbird,1=waterbird, to make one"
            )
        return config
    made = zeroshot.run(
        ZeroShotConfig(
            warehouse=config.warehouse,
            classes=config.classes,
            templates=config.templates,
            classifier=config.classifier or None,
            label_column=config.target or "label",
            scan=config.scan,
        )
    )
    console.note(f"classifier {made.classifier} of {made.scan}: {made.classes} classes")
    return config.model_copy(update={"classifier": made.classifier})


def _scene(config: SpuriousConfig, split: str) -> Scene:
    scene = open_scene(
        Warehouse(config.warehouse),
        config.scan,
        config.classifier,
        (config.attribute,),
        condition(split),
        config.target,
    )
    if scene.label_column == config.attribute:
        raise UsageError(
            f"--attribute {config.attribute!r} is the target of classifier {config.classifier!r} "
            "too; give the column of the cue"
        )
    return replace(scene, group_by=(scene.label_column, config.attribute))


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
            f"--select keeps {n:,} pictures; {len(scene.heads)} heads x {classes} classes of at "
            f"most {MOST_EFFECTS // (len(scene.heads) * classes):,} pictures can be held: "
            "select fewer"
        )
    values = [str(key[1]) for _, found in shards for key in found.keys]
    names = sorted(set(values))
    if len(names) < 2:
        raise UsageError(
            f"attribute {scene.group_by[1]!r} is {names[0]!r} in all {n:,} pictures of --select; "
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


def judge(
    scene: Scene, sets: dict[str, tuple[Head, ...]], control: int, seed: int
) -> tuple[Outcome, ...]:
    """Ablate each set, and random sets of as many heads beside it, in one pass."""
    given = list(sets.values())
    random = [random_sets(scene.heads, chosen, control, seed) for chosen in given]
    tally = ablate_sets(scene, [*given, *(heads for some in random for heads in some)])
    found = []
    for i, (by, chosen) in enumerate(sets.items()):
        first = 1 + len(given) + i * control
        at, beside = 1 + i, slice(first, first + control)
        total, worst = total_row(tally, at, beside), worst_row(tally, at, beside)
        gap = total.before - worst.before
        found.append(
            Outcome(
                by,
                tuple(head_name(*h) for h in chosen),
                tuple(group_rows(tally, at, beside)),
                total,
                worst,
                (worst.after - worst.before) / gap if gap > 0 else None,
            )
        )
    return tuple(found)


def _store(
    config: SpuriousConfig,
    scene: Scene,
    scores: CueScores,
    order: Int[np.ndarray, " head"],
    choice: Choice,
) -> Path:
    steps = {head: step for step, head in enumerate(choice.heads)}
    rows = [
        {
            "classifier": config.classifier,
            "target": scene.label_column,
            "attribute": config.attribute,
            "layer": scene.heads[i][0],
            "head": scene.heads[i][1],
            "rank": rank,
            "score": float(scores.score[i]),
            "about_attribute": float(scores.about_attribute[i]),
            "about_target": float(scores.about_target[i]),
            "chosen": i in steps,
            "step": steps.get(i),
        }
        for rank, i in enumerate(order.tolist())
    ]
    default = safe_name(f"{config.classifier}-{config.attribute}")
    name = check_name(config.name or default, "spurious")
    path = scene.scan.results(SPURIOUS_HEADS) / f"{name}.parquet"
    opened = scene.opened
    now = Now(opened.warehouse, opened.scan, opened.record, opened.snapshot)
    decide = {"attribute", "select", "most", "candidates", "tolerance"}
    options = {**config.model_dump(mode="json", include=decide), "target": scene.label_column}
    claim = now.claim(
        KINDS[SPURIOUS_HEADS], {Part.CLASSIFIER: config.classifier, Part.OPTIONS: options}
    )
    said = config.model_dump(mode="json", exclude={"warehouse", "scan", "name"})
    table = pa.Table.from_pylist(rows, schema=spurious_heads_schema())
    write_result(path, table, now.provenance(claim, **said))
    return path
