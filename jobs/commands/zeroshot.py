"""Classify every picture by class names, and store each head's part of the logits."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from pydantic import Field

from jobs import console
from jobs.steps.accuracies import show_groups
from jobs.steps.logits import store_logits
from jobs.steps.models import load_for
from jobs.steps.opened import open_scan
from jobs.steps.templates import OPENAI, read_lines
from jobs.steps.whatif import GroupRow
from pipeline.texts.zeroshot import (
    PLAIN_TEMPLATE,
    ClassNames,
    label_prompt,
    openai_templates,
    parse_classes,
    parse_templates,
)
from schemas.config import Config, Names
from schemas.errors import UsageError
from schemas.kinds import Part
from schemas.names import check_name, safe_name
from schemas.results import KINDS
from schemas.results.classifiers import CLASSIFIERS
from schemas.results.head_logits import HEAD_LOGITS
from schemas.results.image_logits import IMAGE_LOGITS
from schemas.text import how_many
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.results.claims import Claim, Now
from warehouse.results.classifiers import Classifier
from warehouse.store.columns import READ, column, require_columns
from warehouse.store.reading import read_images

if TYPE_CHECKING:
    from pipeline.towers.models import LoadedModel

ARGUMENTS = ("classes",)
PUBLISHES = True


class ZeroShotConfig(Config):
    """Options of `headatlas zeroshot`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    classes: str = Field(
        description="File with a class per line, `name` or `label<TAB>name`; the same here, as "
        "`0=landbird,1=waterbird`; or `labels`: the labels that the pictures carry."
    )
    templates: str = Field(
        default="openai",
        description="openai: the 80 ImageNet templates; none: `a photo of a {}.`; or a file.",
    )
    classifier: str | None = Field(
        default=None, description="Name of the result; default, the file's or `labels`."
    )
    label_column: str = Field(
        default="label", description="Where a picture's label is: label, or a metadata column."
    )
    group_by: Names = Field(
        default=(), description="Also report accuracy by these columns, as label,place."
    )
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
    model: str | None = Field(default=None, description="Model, when its files have moved.")
    pretrained: str | None = Field(default=None, description="Weights, when they have moved.")


LABELS = "labels"
# Prompts encoded at a time.
_TEXTS = 8_000


@dataclass(frozen=True)
class ZeroShotResult:
    """A stored classifier, and how it does.

    Attributes:
        accuracy: over pictures whose label is a class; None where there is none.
        by_class: one row per class that has pictures.
        by_group: one row per group, when asked for.
        head_logits: whether the heads' parts were written.
    """

    classifier: str
    scan: str
    snapshot: int
    classes: int
    images: int
    accuracy: float | None
    by_class: tuple[GroupRow, ...]
    by_group: tuple[GroupRow, ...]
    head_logits: bool
    path: Path
    seconds: float


def run(config: ZeroShotConfig) -> ZeroShotResult:
    """Make a classifier, classify every picture, and store each head's part of the logits.

    Raises:
        UnknownName: no such scan or column.
        UsageError: the classes or templates cannot be used.
    """
    started = time.perf_counter()
    warehouse = Warehouse(config.warehouse)
    opened = open_scan(warehouse, config.scan)
    scan, snapshot = opened.scan, opened.snapshot
    require_columns(scan, opened.shards, [config.label_column, *config.group_by])
    classes = _classes(config, scan, opened.shards)
    templates = _templates(config.templates)
    weights = encode_classes(
        load_for(opened.record, config.model, config.pretrained), classes.names, templates
    )
    said = {
        "classifier": classifier_name(config),
        "classes": config.classes,
        "templates": config.templates,
        "n_templates": len(templates),
        "label_column": config.label_column,
        "images": snapshot.images,
    }
    now = Now.opened(opened)
    provenances = {
        kind: now.provenance(claim, **said)
        for kind, claim in _claims(now, config, classes, templates).items()
    }
    classifier = Classifier(
        classifier_name(config), classes.names, classes.labels, weights, provenances[CLASSIFIERS]
    )
    stored = store_logits(opened, classifier, config.group_by, provenances)
    return ZeroShotResult(
        classifier.name,
        scan.name,
        snapshot.number,
        len(classifier.names),
        snapshot.images,
        stored.by_class.accuracy(0),
        stored.by_class.rows(),
        stored.by_group.rows(),
        stored.head_logits,
        stored.path,
        time.perf_counter() - started,
    )


def say(config: ZeroShotConfig, done: ZeroShotResult) -> None:
    """Print accuracies by class and group, the worst first."""
    show_groups("Accuracy by class", ("class",), done.by_class)
    if config.group_by:
        show_groups("Accuracy by group", config.group_by, done.by_group)
    right = "no picture has one of these labels"
    if done.accuracy is not None:
        counted = sum(row.n for row in done.by_class)
        right = f"{done.accuracy:.1%} right of {counted:,} labelled pictures"
    console.note(
        f"classifier {done.classifier} of {done.scan}: {how_many(done.classes, 'class')}, {right}; "
        f"{how_many(done.images, 'picture')} in {done.seconds:.1f} s"
    )


def claims(now: Now, config: ZeroShotConfig) -> dict[str, Claim]:
    """Return, by kind, what the results of a classifier would stand on if they were made now.

    Raises:
        UsageError: the classes or templates cannot be used.
    """
    if now.scan is None or now.snapshot is None:
        raise ValueError("a classifier belongs to a scan")
    shards = [live.shard for live in now.snapshot.shards]
    classes = _classes(config, now.scan, shards)
    return _claims(now, config, classes, _templates(config.templates))


def _claims(
    now: Now, config: ZeroShotConfig, classes: ClassNames, templates: tuple[str, ...]
) -> dict[str, Claim]:
    given: dict[Part, Any] = {
        Part.CLASSES: [classes.names, classes.labels],
        Part.OPTIONS: {"templates": templates, "label_column": config.label_column},
    }
    found = {kind: now.claim(KINDS[kind], given) for kind in (IMAGE_LOGITS, HEAD_LOGITS)}
    if config.classes == LABELS:
        given[Part.LABELS] = True
    return {CLASSIFIERS: now.claim(KINDS[CLASSIFIERS], given), **found}


def check_readable(config: ZeroShotConfig) -> None:
    """Check what needs neither scan nor model: classes and templates.

    Raises:
        UsageError: they cannot be used.
    """
    if config.classes != LABELS:
        parse_classes(_lines(config.classes), config.classes)
    _templates(config.templates)


def classifier_name(config: ZeroShotConfig) -> str:
    """Return the name given, or the stem of the file of classes."""
    default = LABELS if config.classes == LABELS else safe_name(Path(config.classes).stem)
    return check_name(config.classifier or default, "classifier")


def _classes(config: ZeroShotConfig, scan: ScanDir, shards: list[str]) -> ClassNames:
    if config.classes != LABELS:
        return parse_classes(_lines(config.classes), config.classes)
    found: set[str] = set()
    for shard in shards:
        rows = read_images(scan, [shard], READ)
        found.update(v for v in column(rows, config.label_column) if v)
    if len(found) < 2:
        raise UsageError(
            f"classes `labels`: {len(found)} labels in column {config.label_column!r} of scan "
            f"{scan.name}; expected two or more: scan with --labels, or give a file of classes"
        )
    labels = tuple(sorted(found))
    return ClassNames(labels, tuple(label_prompt(label) for label in labels))


def _lines(given: str) -> list[str]:
    """Return a class per line, of a file or written out as `0=landbird,1=waterbird`."""
    if "," in given and not Path(given).is_file():
        return [one.replace("=", "\t", 1) for one in given.split(",")]
    return read_lines(given, "classes", f"{LABELS}, or classes as cat,dog or 0=cat,1=dog")


def _templates(given: str) -> tuple[str, ...]:
    if given == OPENAI:
        console.loading("the templates")
        return openai_templates()
    if given == "none":
        return PLAIN_TEMPLATE
    return parse_templates(read_lines(given, "templates", f"{OPENAI}, none"), given)


def encode_classes(
    model: "LoadedModel", names: tuple[str, ...], templates: tuple[str, ...]
) -> Float[np.ndarray, "class d_joint"]:
    """Return the classes' weights, some classes' prompts at a time."""
    from pipeline.texts.class_weights import class_weights

    step = max(1, _TEXTS // len(templates))
    parts = []
    with console.progress("Encoding classes", len(names), "classes") as advance:
        for start in range(0, len(names), step):
            some = names[start : start + step]
            parts.append(class_weights(model.encode_text, some, templates))
            advance(start + len(some))
    return np.concatenate(parts)
