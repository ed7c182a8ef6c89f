"""Ablations in which the model is run: `headatlas ablate --total`.

What is predicted of each picture in each case is kept as a result, so that another grouping of the
same pictures asks no model.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int, Int64

from jobs import console
from jobs.commands.ablate import AblateConfig, TotalResult, TotalRow
from jobs.steps.chunks import do_missing, left_out, require_used
from jobs.steps.layer_matched import layer_matched_sets
from jobs.steps.part_means import part_means, stored_spec
from jobs.steps.stored_chunks import stored_chunks
from jobs.steps.stratified import stratified
from jobs.steps.whatif import Head, Key, Tally, spread
from jobs.workers.replaced import PART, ReplacedSpec, ReplacedWorker
from jobs.workers.stored_pictures import SOURCE, reject_stored
from pipeline.heads.replaced import Case, layers_of
from schemas.errors import UsageError
from schemas.kinds import Part
from schemas.manifest import ModelRecord, digest
from schemas.names import check_name, head_name, parse_head, parse_layers, safe_name
from schemas.results import KINDS
from schemas.results.image_ablations import IMAGE_ABLATIONS, image_ablations_schema
from schemas.text import how_many
from warehouse.files.layout import Warehouse
from warehouse.results.claims import Claim, Now
from warehouse.results.classifiers import Classifier, read_classifier
from warehouse.results.files import read_provenance, read_result, write_result
from warehouse.results.registry import result_path
from warehouse.results.roles import heads_of_role
from warehouse.store.columns import (
    column,
    condition,
    require_columns,
    require_value,
    truth,
    values_there,
)
from warehouse.store.opened import OpenedScan, open_snapshot

NOTHING, RANDOM, JOINT = "nothing", "random", "joint"
_COLUMNS = tuple(dict.fromkeys((*SOURCE, "metadata")))


@dataclass(frozen=True)
class _Asked:
    """What is replaced, of which pictures.

    Attributes:
        cases: by name and number of the draw; nothing is the first.
        classifier: that predicts.
        images: rows of all pictures of the scan.
        chosen: places of those that count, and `truth` their classes.
        mean_of: places of those that means are taken over.
    """

    cases: dict[tuple[str, int | None], Case]
    classifier: Classifier
    images: pa.Table
    chosen: Int64[np.ndarray, " image"]
    truth: Int[np.ndarray, " image"]
    mean_of: Int64[np.ndarray, " image"]


def ablate_total(config: AblateConfig) -> TotalResult:
    """Run the model with components replaced; see `jobs.commands.ablate.run`."""
    started = time.perf_counter()
    opened = open_snapshot(Warehouse(config.warehouse.absolute()), config.scan)
    asked = _asked(config, opened)
    now = Now.opened(opened)
    claim = _claim(config, now, asked)
    name = check_name(config.name or _name(config, asked), "ablation")
    path = result_path(opened.scan, KINDS[IMAGE_ABLATIONS], name)
    parts = opened.scan.unfinished / digest([claim.digest, config.shard_size])[:16]
    if config.restart:
        shutil.rmtree(parts, ignore_errors=True)
        path.unlink(missing_ok=True)
    reused = now.why_not(path, claim) is None
    if not reused:
        files, rejects = _replaced(config, opened, asked, parts)
        table, more = _table(asked, files)
        without = sorted({*rejects, *more})
        require_used(len(table) > 0, len(asked.chosen), without)
        said = {"rejects": without}
        write_result(path, table, now.provenance(claim, **said))
    shutil.rmtree(parts, ignore_errors=True)
    tally, cases = _counted(config, asked, read_result(path)[0])
    return TotalResult(
        name=name,
        scan=opened.name,
        classifier=config.classifier,
        replace=config.replace,
        at=config.at,
        replaced={what: _words(case) for (what, draw), case in cases.items() if draw is None},
        rows=tuple(_rows(tally, cases)),
        control=tuple(_words(c) for (what, _), c in cases.items() if what == RANDOM),
        images=tally.n.total(),
        rejects=tuple(left_out(read_provenance(path))),
        path=path,
        reused=reused,
        seconds=time.perf_counter() - started,
    )


def _asked(config: AblateConfig, opened: OpenedScan) -> _Asked:
    model = opened.record.model
    single = _components(config, opened, model)
    cases: dict[tuple[str, int | None], Case] = {(NOTHING, None): Case()}
    cases |= {(what, None): case for what, case in single.items()}
    if len(single) > 1:
        joint = Case()
        for case in single.values():
            joint = joint.joined(case)
        cases[JOINT, None] = joint
    if "heads" in single:
        chosen = [(n, h) for n, some in single["heads"].heads.items() for h in some]
        heads_of = {n: model.heads_of(n) for n, _ in chosen}
        random = layer_matched_sets(chosen, heads_of, config.control, config.seed)
        if config.control and not random:
            console.note("every head of these layers is replaced: there are no random ones beside")
        cases |= {(RANDOM, draw): _of(heads) for draw, heads in enumerate(random)}
    classifier = read_classifier(opened.warehouse, opened.scan, config.classifier)
    keep = condition(config.where) if config.where else None
    mean_of = condition(config.means) if config.means else None
    used = [classifier.label_column, *config.group_by, *(c[0] for c in (keep, mean_of) if c)]
    require_columns(opened.scan, opened.shards, used)
    images = opened.images(_COLUMNS)
    own = truth(images, classifier.label_column, classifier.labels)
    counts = own >= 0
    if keep is not None:
        counts &= _has(images, keep)
    places = np.flatnonzero(counts)
    if not len(places):
        require_value(opened.scan, opened.shards, keep)
        where = f" with {config.where}" if config.where else ""
        raise UsageError(
            f"no picture of scan {opened.name!r}{where} has in column "
            f"{classifier.label_column!r} one of the labels of classifier {classifier.name!r}: "
            f"{', '.join(classifier.labels[:6])}; see --label-column of headatlas zeroshot"
        )
    if config.sample:
        groups = [str(key) for key in _keys(config, classifier, images, places)]
        places = places[stratified(groups, config.sample, config.seed)]
    over = np.arange(len(images)) if mean_of is None else np.flatnonzero(_has(images, mean_of))
    if mean_of is not None and not len(over):
        there = values_there(opened.scan, opened.shards, *mean_of)
        raise UsageError(f"no picture of scan {opened.name!r} has {config.means}; {there}")
    return _Asked(cases, classifier, images, places, own[places], over)


def _components(config: AblateConfig, opened: OpenedScan, model: ModelRecord) -> dict[str, Case]:
    """Return the components asked for, by kind."""
    heads = [parse_head(name) for name in config.heads]
    if config.role is not None:
        heads += heads_of_role(opened.scan, config.role, config.basis)
    if config.attention is not None:
        layers = model.layers_of(config.attention)
        heads += [(layer, head) for layer in layers for head in range(model.heads_of(layer))]
    for layer, head in heads:
        if layer >= model.total_layers or head >= model.heads_of(layer):
            raise UsageError(
                f"no head {head_name(layer, head)}: this model has layers 0 to "
                f"{model.total_layers - 1} and heads 0 to {model.n_heads - 1}"
            )

    mlps, cls = (
        frozenset(() if spec is None else parse_layers(spec, model.n_layers))
        for spec in (config.mlps, config.cls)
    )
    found = {"heads": _of(heads), "mlps": Case(mlps=mlps), "cls": Case(cls=cls)}
    found = {what: case for what, case in found.items() if case.layers}
    if not found:
        raise UsageError(
            "--total: nothing to replace; give --heads L22H12,L23H6, --role NAME, or layers by "
            "--attention, --mlps or --cls, as all, last:4 or 0-3"
        )
    return found


def _of(heads: "list[Head]") -> Case:
    layers = sorted({layer for layer, _ in heads})
    return Case({n: tuple(sorted({h for layer, h in heads if layer == n})) for n in layers})


def _words(case: Case) -> tuple[str, ...]:
    """Return the names of the components of a case."""
    heads = [head_name(n, h) for n, some in sorted(case.heads.items()) for h in some]
    mlps = [f"MLP {n}" for n in sorted(case.mlps)]
    return (*heads, *mlps, *(f"CLS {n}" for n in sorted(case.cls)))


def _has(images: pa.Table, kept: tuple[str, str]) -> np.ndarray:
    return np.array([value == kept[1] for value in column(images, kept[0])], bool)


def _keys(
    config: AblateConfig, classifier: Classifier, images: pa.Table, places: np.ndarray
) -> list[Key]:
    """Return the class and groups of some pictures."""
    some = images.take(pa.array(places))
    names = (classifier.label_column, *config.group_by)
    return list(zip(*(column(some, name) for name in names), strict=True))


def _claim(config: AblateConfig, now: Now, asked: _Asked) -> Claim:
    """Return everything that decides what is predicted, and of which pictures."""
    options = config.model_dump(mode="json", include={"replace", "at", "where", "means", "sample"})
    if config.sample:
        options |= {"seed": config.seed, "group_by": list(config.group_by)}
    options["cases"] = [[what, draw, *_words(c)] for (what, draw), c in asked.cases.items()]
    given: dict[Part, Any] = {Part.CLASSIFIER: config.classifier, Part.OPTIONS: options}
    return now.claim(KINDS[IMAGE_ABLATIONS], given)


def _name(config: AblateConfig, asked: _Asked) -> str:
    """Return a name for the result: the classifier, and what is replaced, how and where."""
    whole = list(asked.cases)[-1 if config.control == 0 else 1][0]
    words = _words(next(case for (what, _), case in asked.cases.items() if what == whole))
    what = config.role or "-".join(words)
    what = what if len(what) <= 40 else f"{whole}-{digest(list(words))[:8]}"
    return safe_name(f"{config.classifier}-{what}-{config.replace}-{config.at}")


def _replaced(
    config: AblateConfig, opened: OpenedScan, asked: _Asked, parts: Path
) -> tuple[list[Path], list[tuple[str, str]]]:
    """Do what is missing; return the chunks' files, and what the means leave out."""
    cases = tuple(asked.cases.values())
    means, rejects = None, list[tuple[str, str]]()
    if config.replace == "mean":
        layers = layers_of(cases)
        means, rejects = part_means(config, opened, asked.images, asked.mean_of, layers)

    def make(cpus: int) -> ReplacedWorker:
        return ReplacedWorker(
            ReplacedSpec(
                **vars(stored_spec(config, opened, cpus)),
                cases=cases,
                means=means,
                everywhere=config.at == "all",
                weights=asked.classifier.weights,
            )
        )

    console.note(f"{how_many(len(cases), 'case')} of {how_many(len(asked.chosen), 'picture')}")
    chunks = stored_chunks(asked.images.take(pa.array(asked.chosen)), config.shard_size, parts)
    reject = partial(reject_stored, PART.empty_table())
    return do_missing("Ablating", chunks, config, make, reject), rejects


def _table(asked: _Asked, files: list[Path]) -> tuple[pa.Table, list[tuple[str, str]]]:
    """Return rows of image_ablations from the chunks, and the pictures left out."""
    ids = asked.images["image_id"].take(pa.array(asked.chosen)).to_pylist()
    own = dict(zip(ids, asked.truth.tolist(), strict=True))
    rejects = [one for file in files for one in left_out(read_provenance(file))]
    found = [row for file in files for row in pq.read_table(file).to_pylist()]
    rows = [
        {
            "image_id": row["image_id"],
            "replaced": what,
            "draw": draw,
            "class": own[row["image_id"]],
            "direct": row["direct"][at],
            "total": row["total"][at],
        }
        for at, (what, draw) in enumerate(asked.cases)
        for row in found
    ]
    return pa.Table.from_pylist(rows, schema=image_ablations_schema()), rejects


def _counted(
    config: AblateConfig, asked: _Asked, table: pa.Table
) -> tuple[Tally, dict[tuple[str, int | None], Case]]:
    """Count right answers by group: of each case first all direct, then all total."""
    n = len(table) // len(asked.cases)
    right = [
        np.reshape(table[name].to_numpy() == table["class"].to_numpy(), (len(asked.cases), n))
        for name in ("direct", "total")
    ]
    ids = table["image_id"].to_numpy()[:n]
    place = {number: at for at, number in enumerate(asked.images["image_id"].to_pylist())}
    places = np.array([place[number] for number in ids.tolist()], np.int64)
    keys = [key[1:] for key in _keys(config, asked.classifier, asked.images, places)]
    tally = Tally(2 * len(asked.cases))
    tally.add(keys, np.concatenate(right))
    return tally, asked.cases


def _rows(tally: Tally, cases: dict[tuple[str, int | None], Case]) -> list[TotalRow]:
    """Return accuracy of each case by group, over all pictures, and of the worst group."""
    found = list[TotalRow]()
    random = [len(cases) + at for at, (what, _) in enumerate(cases) if what == RANDOM]
    grouped = tally.n.keys() != {()}
    for at, (what, draw) in enumerate(cases):
        if draw is not None or what == NOTHING:
            continue
        row = partial(_row, what, (len(cases), at, len(cases) + at), random * (what == "heads"))
        if grouped:
            found += [row("group", g.group, g.n, g.accuracy.__getitem__) for g in tally.rows()]
        found.append(row("all", (), tally.n.total(), lambda i: tally.accuracy(i) or 0.0))
        if grouped:
            found.append(row("worst", (), tally.n.total(), tally.worst))
    return found


def _row(
    what: str,
    at: tuple[int, int, int],
    random: Sequence[int],
    of: str,
    key: Key,
    n: int,
    share: Callable[[int], float],
) -> TotalRow:
    """Return one row, given the shares of right answers by case."""
    before, direct, total = map(share, at)
    beside = spread([share(i) for i in random]) if random else (None, None)
    return TotalRow(what, of, key, n, before, direct, total, *beside)
