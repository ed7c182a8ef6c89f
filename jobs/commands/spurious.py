"""Find the heads that carry a cue, choose a set to switch off, and judge it on a test split.

Heads are ranked by what their logits say of the attribute against the target, a set is chosen on
one split of the pictures, and judged on another, beside random sets of as many heads.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Int
from pydantic import Field

from jobs import console
from jobs.commands import ablate, zeroshot
from jobs.commands.ablate import TotalResult
from jobs.commands.zeroshot import ZeroShotConfig
from jobs.steps.ablated import Ablated, group_rows, open_scene, total_row, worst_row
from jobs.steps.accuracies import SHOWN, show_ablated
from jobs.steps.digests import files_digest
from jobs.steps.split_effects import read_split
from jobs.steps.spurious_search import search
from jobs.steps.whatif import Head, Scene, ablate_sets, means_over, random_sets
from pipeline.heads.ablation import Choice, CueScores
from schemas.config import Config
from schemas.errors import UsageError
from schemas.kinds import Part
from schemas.names import check_name, head_name, safe_name
from schemas.results import KINDS
from schemas.results.spurious_heads import SPURIOUS_HEADS, spurious_heads_schema
from schemas.text import how_many
from warehouse.files.layout import Warehouse
from warehouse.results.claims import Now
from warehouse.results.files import write_result
from warehouse.results.roles import heads_of_role
from warehouse.store.columns import condition

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
    search: Literal["cue", "margin-contrast", "attention-share"] = Field(
        default="cue",
        description="cue: what a head says of the attribute against the target; margin-contrast: "
        "how often it is what most pushes wrong pictures of the groups that fare worse; "
        "attention-share: how much of its attention falls on written text.",
    )
    text_data: Path | None = Field(
        default=None,
        description="For attention-share: pictures with masks of where written text is, as segment "
        "takes them.",
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
    total: bool = Field(
        default=False, description="Also judge each set by running the model without it."
    )
    at: Literal["all", "class"] | None = Field(
        default=None,
        description="With --total: replaced at every token, or at those alone that are read; "
        "default, all, and class for attention-share.",
    )
    workers: int | None = Field(
        default=None, ge=0, description="Workers of --total, at most; 0: in this process."
    )
    name: str | None = Field(
        default=None, description="Name of the result; default, CLASSIFIER-ATTRIBUTE."
    )
    scan: str | None = Field(default=None, description="Scan; default, the newest.")


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
        total: the same by running the model, where asked for; of sets that hold a head.
    """

    scan: str
    classifier: str
    attribute: str
    heads: tuple[RankedHead, ...]
    selected: tuple[float, ...]
    outcomes: tuple[Outcome, ...]
    total: dict[str, TotalResult]
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
    # means of the select pictures in both: the test pictures are only judged
    means = means_over(scene, condition(config.select))
    scene, test = replace(scene, means=means), replace(_scene(config, config.test), means=means)
    sets: dict[str, tuple[Head, ...]] = {}
    if config.role is not None:
        sets[config.role] = heads_of_role(scene.scan, config.role, config.basis)
    split = read_split(scene)
    found = search(config, scene, split)
    scores, order, choice = found.scores, found.order, found.choice
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
        _total(config, scene, sets) if config.total else {},
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

    for by, total in done.total.items():
        console.note(f"{by}, by running the model:")
        ablate.say_total((config.target or "target", config.attribute), total)


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
    console.note(f"classifier {made.classifier} of {made.scan}: {how_many(made.classes, 'class')}")
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


def _total(
    config: SpuriousConfig, scene: Scene, sets: dict[str, tuple[Head, ...]]
) -> dict[str, TotalResult]:
    """Run the model on the test pictures without each set; means stay those of the select ones."""
    if scene.label_column != scene.classifier.label_column:
        raise UsageError(
            f"--total: classifier {config.classifier!r} is of column "
            f"{scene.classifier.label_column!r}, --target is {scene.label_column!r}; make one of "
            "that column: headatlas zeroshot --label-column"
        )
    found = {}
    at: Literal["all", "class"] = "class" if config.search == "attention-share" else "all"
    at = config.at or at
    for by, heads in sets.items():
        if heads:
            asked = ablate.AblateConfig(
                warehouse=config.warehouse,
                classifier=config.classifier,
                heads=tuple(head_name(*head) for head in heads),
                group_by=(scene.label_column, config.attribute),
                where=config.test,
                means=config.select,
                control=config.control,
                seed=config.seed,
                total=True,
                at=at,
                workers=config.workers,
                name=safe_name(f"{_name(config)}-{by}-{at}"),
                scan=scene.scan.name,
            )
            done = ablate.run(asked)
            assert isinstance(done, ablate.TotalResult)
            found[by] = done
    return found


def _name(config: SpuriousConfig) -> str:
    """Return the result's name; those of other searches stand beside it."""
    words = [config.classifier, config.attribute]
    words += [config.search] if config.search != "cue" else []
    return check_name(config.name or safe_name("-".join(words)), "spurious")


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
    path = scene.scan.results(SPURIOUS_HEADS) / f"{_name(config)}.parquet"
    opened = scene.opened
    now = Now(opened.warehouse, opened.scan, opened.record, opened.snapshot)
    decide = {"attribute", "search", "select", "most", "candidates", "tolerance"}
    options = {**config.model_dump(mode="json", include=decide), "target": scene.label_column}
    if config.text_data is not None:
        options["text_data"] = files_digest([config.text_data])
    claim = now.claim(
        KINDS[SPURIOUS_HEADS], {Part.CLASSIFIER: config.classifier, Part.OPTIONS: options}
    )
    said = config.model_dump(
        mode="json", exclude={"warehouse", "scan", "name", "total", "at", "workers"}
    )
    table = pa.Table.from_pylist(rows, schema=spurious_heads_schema())
    write_result(path, table, now.provenance(claim, **said))
    return path
