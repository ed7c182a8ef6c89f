"""Weigh every head's principal directions anew so that a classifier is right more often.

Spectral tuning (ResiDual) on the stored vectors: one weight for each direction is learned from the
labels, judged on pictures that it was not learned from, and the model is never run.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import Field

from jobs import console
from jobs.steps.opened import open_scan
from jobs.steps.tuning import lesson, tuning_table
from pipeline.heads.tuning import Problem, Score, fit, folds, held_out, scores
from schemas.config import Config, Names
from schemas.errors import UsageError
from schemas.kinds import Part
from schemas.names import parse_layers
from schemas.results import KINDS
from schemas.results.head_tuning import HEAD_TUNING
from schemas.results.tuning_scores import (
    GROUP,
    OVERALL,
    SHUFFLED,
    TUNING_SCORES,
    tuning_scores_schema,
)
from schemas.text import how_many
from warehouse.files.layout import Warehouse
from warehouse.results.claims import Now
from warehouse.results.classifiers import classifier_path, read_classifier
from warehouse.results.files import read_result, write_result
from warehouse.store.columns import require_columns

PUBLISHES = True


class TuneConfig(Config):
    """Options of `headatlas tune`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    classifier: str = Field(description="Classifier that shall be right more often.")
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
    layers: str = Field(default="all", description="all, last:N, A-B or A; of those stored.")
    group_by: Names = Field(
        default=(), description="Columns whose values make groups; default, the classes."
    )
    sample: int = Field(
        default=3000, ge=10, description="Labelled pictures to learn from, by class in proportion."
    )
    folds: int = Field(default=5, ge=2, description="Parts, each judged by the others.")
    ridge: float = Field(
        default=0.01, gt=0, description="Penalty of weights other than 1: half of it times squares."
    )
    scale: float = Field(default=100.0, gt=0, description="Logit scale of the cross-entropy.")
    seed: int = Field(default=0, ge=0, description="Of the sample and the folds.")


@dataclass(frozen=True)
class TuneResult:
    """What was learned.

    Attributes:
        images: pictures learned from and judged on.
        weights: how many were learned.
        overall: accuracy before, and held out after.
        worst: the group that is told right least often after tuning, of equals before it.
        shuffled: overall, when labels are shuffled: nothing should be gained.
        path: the weights.
        reused: whether the same was there already.
    """

    scan: str
    classifier: str
    images: int
    weights: int
    overall: Score
    worst: Score
    shuffled: Score
    path: Path
    reused: bool
    seconds: float


def run(config: TuneConfig) -> TuneResult:
    """Learn weights from labelled pictures, judge them by cross-validation, and store both.

    Raises:
        UnknownName: no such scan, classifier or column.
        UsageError: fewer pictures with a class than folds, fewer than two classes, or no head with
            a frame in these layers.
    """
    started = time.perf_counter()
    opened = open_scan(Warehouse(config.warehouse), config.scan)
    classifier = read_classifier(opened.warehouse, opened.scan, config.classifier)
    require_columns(opened.scan, opened.shards, config.group_by)
    last = max(opened.record.layers, default=0)
    wanted = parse_layers(config.layers, last + 1)
    heads = [head for head in opened.framed if head[0] in wanted]
    if not heads:
        raise UsageError(
            f"layers {config.layers!r}: scan {opened.name!r} stores {opened.record.layers}; "
            "expected some of these"
        )
    now = Now.opened(opened)
    options = config.model_dump(mode="json", exclude={"warehouse", "classifier", "scan"})
    given = {Part.CLASSIFIER: config.classifier, Part.OPTIONS: options}
    kinds = (HEAD_TUNING, TUNING_SCORES)
    claims = {kind: now.claim(KINDS[kind], given) for kind in kinds}
    paths = {kind: classifier_path(opened.scan, config.classifier, kind) for kind in kinds}
    reused = all(now.why_not(paths[kind], claims[kind]) is None for kind in kinds)
    if not reused:
        found = lesson(opened, classifier, heads, config.group_by, config.sample, config.seed)
        count = len(found.problem.truth)
        if count < config.folds:
            raise UsageError(
                f"folds {config.folds}: {how_many(count, 'picture')} of scan {opened.name!r} to "
                "learn from; "
                "give fewer --folds, or scan more pictures with labels"
            )
        judged = _judge(found.problem, found.groups, config)
        weights = fit(found.problem, config.ridge, config.scale)
        said = {"images": count}
        write_result(
            paths[HEAD_TUNING],
            tuning_table(found, weights),
            now.provenance(claims[HEAD_TUNING], **said),
        )
        write_result(paths[TUNING_SCORES], judged, now.provenance(claims[TUNING_SCORES], **said))
    return _result(config, opened.name, paths, reused, started)


def _judge(problem: Problem, groups: list[tuple[str | None, ...]], config: TuneConfig) -> pa.Table:
    """Return the scores on held-out pictures, with those of shuffled labels as a control."""
    rows = []
    with console.progress("Tuning", 2, "cross-validations") as advance:
        for done, kind in enumerate((OVERALL, SHUFFLED), 1):
            own = problem
            if kind == SHUFFLED:
                order = np.random.default_rng(config.seed).permutation(len(problem.truth))
                own = Problem(problem.base, problem.z, problem.b, problem.truth[order])
            fold = folds(own.truth, config.folds, config.seed)
            predicted = held_out(own, fold, config.ridge, config.scale)
            found = scores(own, predicted, groups)
            for score in found if kind == OVERALL else found[:1]:
                rows.append(
                    {
                        "kind": kind if score.group is None else GROUP,
                        "members": list(score.group or ()),
                        "n": score.n,
                        "before": score.before,
                        "after": score.after,
                    }
                )
            advance(done)
    return pa.Table.from_pylist(rows, schema=tuning_scores_schema())


def _result(
    config: TuneConfig, scan: str, paths: dict[str, Path], reused: bool, started: float
) -> TuneResult:
    rows = read_result(paths[TUNING_SCORES])[0].to_pylist()
    found: dict[str, list[Score]] = {}
    for row in rows:
        score = Score(tuple(row["members"]) or None, row["n"], row["before"], row["after"])
        found.setdefault(row["kind"], []).append(score)
    overall = found[OVERALL][0]
    return TuneResult(
        scan=scan,
        classifier=config.classifier,
        images=overall.n,
        weights=read_result(paths[HEAD_TUNING])[0].num_rows,
        overall=overall,
        worst=min(found[GROUP], key=lambda score: (score.after, score.before)),
        shuffled=found[SHUFFLED][0],
        path=paths[HEAD_TUNING],
        reused=reused,
        seconds=time.perf_counter() - started,
    )


def say(config: TuneConfig, done: TuneResult) -> None:
    """Print accuracy before and after, overall, of the worst group, and of the control."""
    rows = [
        ("held-out pictures", done.overall.n, done.overall.before, done.overall.after),
        (_named(done.worst), done.worst.n, done.worst.before, done.worst.after),
        ("labels shuffled", done.shuffled.n, done.shuffled.before, done.shuffled.after),
    ]
    console.table(f"Accuracy of {done.classifier}", ("pictures", "n", "before", "after"), rows)
    ended = "there already" if done.reused else f"in {done.seconds:.1f} s"
    console.note(
        f"{how_many(done.weights, 'weight')} from {how_many(done.images, 'picture')}, {ended}; "
        "apply them by headatlas "
        f"export FILE.parquet --tuned {done.classifier}"
    )


def _named(score: Score) -> str:
    return "worst group: " + ", ".join("none" if v is None else v for v in score.group or ())
