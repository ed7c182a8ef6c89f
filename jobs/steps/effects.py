"""What heads do, over a data set: `headatlas effects`.

First the mean output of each head at each token, over the pictures of the scan or of the sample;
then effects. Both are chunks of pictures that a rerun goes on from; the means' chunks are kept for
other targets.
"""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int64

from jobs import console
from jobs.commands.effects import EffectsConfig, EffectsResult
from jobs.steps.chosen import chosen_heads
from jobs.steps.chunks import do_missing
from jobs.steps.models import load_for
from jobs.steps.stored_chunks import stored_chunks
from jobs.steps.stratified import stratified
from jobs.steps.templates import read_lines
from jobs.workers.effects import PART, EffectsSpec, EffectsWorker, MeansWorker
from jobs.workers.stored_pictures import SOURCE, Stored, reject_stored
from pipeline.heads.effect_sums import EffectSums
from pipeline.heads.effects import passes
from pipeline.heads.position_means import PositionSums
from schemas.errors import RunFailed, UsageError
from schemas.kinds import Part
from schemas.manifest import digest
from schemas.names import head_name, safe_name
from schemas.results import KINDS
from schemas.results.head_effects import HEAD_EFFECTS, head_effects_schema
from schemas.results.image_head_effects import IMAGE_HEAD_EFFECTS, image_head_effects_schema
from warehouse.files.layout import Warehouse
from warehouse.results.claims import Claim, Now
from warehouse.results.classifiers import read_classifier
from warehouse.results.files import read_provenance, read_result, stream_result, write_result
from warehouse.results.registry import result_path
from warehouse.store.opened import OpenedScan, open_snapshot

# Pictures of an exact run whose number is not given.
SAMPLE = 2_000
# Rows of image_head_effects.
MOST_ROWS = 20_000_000
_KINDS = (HEAD_EFFECTS, IMAGE_HEAD_EFFECTS)


@dataclass(frozen=True)
class _Asked:
    """What is measured, of which pictures.

    Attributes:
        images: rows of all pictures of the scan.
        chosen: places of those that are measured, and `checked` of those measured by both methods.
        heads: by layer, ascending.
        targets: names of the directions.
    """

    images: pa.Table
    chosen: Int64[np.ndarray, " image"]
    checked: Int64[np.ndarray, " image"]
    heads: dict[int, list[int]]
    targets: tuple[str, ...]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Each head as (layer, head), ascending."""
        return [(layer, head) for layer, some in self.heads.items() for head in some]


def measure(config: EffectsConfig, *, dry_run: bool) -> EffectsResult:
    """Measure effects, or say what that would cost; see `jobs.commands.effects.run`."""
    started = time.perf_counter()
    opened = open_snapshot(Warehouse(config.warehouse.absolute()), config.scan)
    name = config.name or config.classifier or (config.texts and safe_name(config.texts.stem)) or ""
    asked = _asked(config, opened)
    means_of = asked.chosen if config.sample else np.arange(len(asked.images))
    exact = asked.chosen if config.method == "exact" else asked.checked
    rows = len(exact) * len(asked.pairs) * len(asked.targets)
    if rows > MOST_ROWS:
        raise UsageError(
            f"{len(exact):,} pictures x {len(asked.pairs)} heads x {len(asked.targets):,} targets: "
            f"{rows:,} rows, expected at most {MOST_ROWS:,}; give a smaller --sample, --heads, "
            "--layers, or fewer targets"
        )
    now = Now.opened(opened)
    claims = {kind: _claim(config, now, kind, asked) for kind in _KINDS}
    paths = {kind: result_path(opened.scan, KINDS[kind], name) for kind in _KINDS}
    found = EffectsResult(
        name=name,
        scan=opened.name,
        heads=len(asked.pairs),
        targets=asked.targets,
        images=len(asked.chosen),
        checked=len(asked.checked),
        means=len(means_of),
        passes=_cost(config, asked, len(means_of), opened.record.model.n_layers),
        rows=rows,
        atp_r={},
        rejects=(),
        path=None,
        reused=False,
        seconds=0.0,
    )
    if dry_run:
        return found
    parts = opened.scan.unfinished / claims[HEAD_EFFECTS].digest[:16]
    if config.restart:
        shutil.rmtree(parts, ignore_errors=True)
        for path in paths.values():
            path.unlink(missing_ok=True)
    reused = all(now.why_not(paths[kind], claims[kind]) is None for kind in _KINDS)
    if not reused:
        said: dict[str, Any] = {"method": config.method, "images": len(asked.chosen)}
        said |= {"checked": len(asked.checked), "means": len(means_of)}
        provenances = {k: partial(now.provenance, claim, **said) for k, claim in claims.items()}
        targets = _directions(config, opened, asked)
        means, left_out = _means(config, opened, asked, means_of)
        files = _effects(config, opened, asked, targets, means, parts)
        _finish(asked, files, left_out, paths, provenances)
    shutil.rmtree(parts, ignore_errors=True)
    there = read_provenance(paths[HEAD_EFFECTS])
    return EffectsResult(
        **{
            **vars(found),
            "atp_r": {int(layer): r for layer, r in there["atp_r"].items()},
            "rejects": tuple((key, reason) for key, reason in there["rejects"]),
            "path": paths[HEAD_EFFECTS],
            "reused": reused,
            "seconds": time.perf_counter() - started,
        }
    )


def _asked(config: EffectsConfig, opened: OpenedScan) -> _Asked:
    if (config.classifier is None) == (config.texts is None):
        given = "neither" if config.texts is None else "both"
        raise UsageError(
            f"targets: got {given} of --classifier and --texts; give one: a classifier of the "
            "scan, or a file with a text a line"
        )
    if config.classifier is not None:
        found = read_classifier(opened.warehouse, opened.scan, config.classifier)
        targets = tuple(found.names)
    else:
        lines = read_lines(str(config.texts), "texts", "--classifier")
        targets = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not targets:
        raise UsageError(f"targets: {config.texts} holds no text; give one a line")
    model = opened.record.model
    mask = chosen_heads(config.layers, config.heads, (), model.n_layers, model.n_heads).numpy()
    heads = {int(n): np.flatnonzero(mask[n]).tolist() for n in np.flatnonzero(mask.any(axis=1))}
    images = opened.images(SOURCE)
    labels = images["label"].to_pylist()
    count = config.sample or (SAMPLE if config.method == "exact" else len(labels))
    chosen = stratified(labels, count, config.seed)
    if not len(chosen):
        raise UsageError(f"scan {opened.name!r} holds no picture; scan some first")
    places = stratified([labels[i] for i in chosen.tolist()], config.check, config.seed)
    return _Asked(images, chosen, chosen[places], heads, targets)


def _cost(config: EffectsConfig, asked: _Asked, means: int, n_layers: int) -> float:
    """Return forward passes of the whole: 2 a picture for means, then by the formulas."""
    exact = passes(n_layers, asked.heads)
    first = 1 + len(asked.targets) * (n_layers if config.gradient_dropout else 1)
    n, both = len(asked.chosen), len(asked.checked)
    main, other = (exact, first) if config.method == "exact" else (first, exact)
    # class_only is a second run of the replaced heads
    return 2 * means + n * (1 + main) + both * (other + exact)


def _claim(config: EffectsConfig, now: Now, kind: str, asked: _Asked) -> Claim:
    """Return everything that decides the tables' numbers."""
    decide = {"sample", "method", "check", "layers", "heads", "gradient_dropout", "seed"}
    options = config.model_dump(mode="json", include=decide | {"shard_size"})
    given: dict[Part, Any] = {Part.OPTIONS: options}
    if config.classifier is None:
        options["texts"] = list(asked.targets)
    else:
        given[Part.CLASSIFIER] = config.classifier
    return now.claim(KINDS[kind], given)


def _directions(
    config: EffectsConfig, opened: OpenedScan, asked: _Asked
) -> Float[np.ndarray, "target d_joint"]:
    import torch

    from pipeline.heads.effects import class_directions

    if config.classifier is not None:
        weights = read_classifier(opened.warehouse, opened.scan, config.classifier).weights
        found: np.ndarray = class_directions(torch.tensor(weights)).float().numpy()
        return found
    loaded = load_for(opened.record, config.model, config.pretrained)
    return loaded.encode_text(list(asked.targets)).numpy()


def _spec(config: EffectsConfig, opened: OpenedScan, asked: _Asked, cpus: int) -> dict[str, Any]:
    record = opened.record
    return {
        "record": record,
        "model": config.model or record.model_path,
        "pretrained": config.pretrained or record.pretrained_path,
        "batch_size": config.batch_size,
        "cpus": cpus,
        "heads": asked.heads,
    }


def _chunks(
    asked: _Asked, places: Int64[np.ndarray, " image"], size: int, folder: Path
) -> list[Stored]:
    marked = asked.images["image_id"].take(pa.array(asked.checked)).to_pylist()
    return stored_chunks(asked.images.take(pa.array(places)), size, folder, marked)


def _means(
    config: EffectsConfig, opened: OpenedScan, asked: _Asked, places: Int64[np.ndarray, " image"]
) -> tuple[PositionSums, list[tuple[str, str]]]:
    """Return the sums of heads' outputs over some pictures; their chunks are kept."""
    of = [opened.record.fingerprint(), opened.content.pictures, list(asked.heads)]
    which = "all" if len(places) == len(asked.images) else places.tolist()
    folder = opened.scan.unfinished / f"means-{digest([*of, which, config.shard_size])[:16]}"

    def make(cpus: int) -> MeansWorker:
        return MeansWorker(EffectsSpec(**_spec(config, opened, asked, cpus)))

    whose = "the sample" if config.sample else "the scan"
    console.note(f"means of heads over {len(places):,} pictures of {whose}")
    files = do_missing(
        "Means of heads",
        _chunks(asked, places, config.shard_size, folder),
        config,
        make,
        partial(reject_stored, PositionSums().to_table()),
    )
    sums, rejects = PositionSums(), list[tuple[str, str]]()
    for file in files:
        sums.merge(PositionSums.from_table(pq.read_table(file)))
        rejects += read_provenance(file)["rejects"]
    if not sums.count:
        raise RunFailed(f"none of {len(places):,} pictures could be used: {rejects[0][1]}")
    return sums, rejects


def _effects(
    config: EffectsConfig,
    opened: OpenedScan,
    asked: _Asked,
    targets: Float[np.ndarray, "target d_joint"],
    means: PositionSums,
    parts: Path,
) -> list[Path]:
    def make(cpus: int) -> EffectsWorker:
        return EffectsWorker(
            EffectsSpec(
                **_spec(config, opened, asked, cpus),
                means=means,
                targets=targets,
                method=config.method,
                gradient_dropout=config.gradient_dropout,
            )
        )

    chunks = _chunks(asked, asked.chosen, config.shard_size, parts)
    reject = partial(reject_stored, PART.empty_table())
    return do_missing("Effects of heads", chunks, config, make, reject)


def _finish(
    asked: _Asked,
    files: Sequence[Path],
    left_out: Sequence[tuple[str, str]],
    paths: dict[str, Path],
    provenances: dict[str, Any],
) -> None:
    """Write both tables from the chunks."""
    shape = (len(asked.pairs), len(asked.targets))
    sums, rejects = EffectSums(), [tuple(one) for one in left_out]
    schema = image_head_effects_schema()
    path = paths[IMAGE_HEAD_EFFECTS]
    with stream_result(path, schema, provenances[IMAGE_HEAD_EFFECTS]()) as writer:
        for file in files:
            part, provenance = read_result(file)
            rejects += [tuple(one) for one in provenance["rejects"]]
            for row in part.filter(pa.compute.is_null(part["image_id"])).to_pylist():
                sums.merge(EffectSums({row["what"]: np.array(row["sums"]).reshape(shape)}))
            for table in _image_rows(asked, part):
                writer.write_table(table.cast(writer.schema))
    if not sums.sums:
        raise RunFailed(f"none of {len(asked.chosen):,} pictures could be used: {rejects[0][1]}")
    layers = [layer for layer, _ in asked.pairs]
    by_layer = {n: sums.correlation_of([i for i, m in enumerate(layers) if m == n]) for n in layers}
    known = {n: r for n, r in by_layer.items() if np.isfinite(r)}
    more = {"rejects": sorted(set(rejects)), "atp_r": known}
    table = _head_rows(asked, sums)
    write_result(paths[HEAD_EFFECTS], table, provenances[HEAD_EFFECTS](**more))


def _image_rows(asked: _Asked, part: pa.Table) -> "list[pa.Table]":
    """Return a chunk's pictures as rows of image_head_effects, a table for each picture."""
    by_image: dict[int, dict[str, np.ndarray]] = {}
    rows = part.filter(pa.compute.is_valid(part["image_id"]))
    for row in rows.to_pylist():
        by_image.setdefault(row["image_id"], {})[row["what"]] = np.array(row["values"], np.float32)
    head_columns = _heads_and_targets(asked)
    n = len(asked.pairs) * len(asked.targets)
    return [
        pa.table(
            {
                "image_id": np.full(n, number),
                **head_columns,
                "direct": found["direct"],
                "total": found["total"],
                "atp": found["atp"] if "atp" in found else pa.nulls(n, pa.float32()),
            },
            schema=image_head_effects_schema(),
        )
        for number, found in sorted(by_image.items())
    ]


def _heads_and_targets(asked: _Asked) -> dict[str, Any]:
    """Return target, layer and head of each number, in the order of [head, target]."""
    pairs = np.repeat(np.array(asked.pairs, np.int16).reshape(-1, 2), len(asked.targets), axis=0)
    targets = list(asked.targets) * len(asked.pairs)
    return {"target": targets, "layer": pairs[:, 0], "head": pairs[:, 1]}


def _head_rows(asked: _Asked, sums: EffectSums) -> pa.Table:
    """Return rows of head_effects."""
    columns = _heads_and_targets(asked)
    names = zip(columns["layer"].tolist(), columns["head"].tolist(), strict=True)
    columns["name"] = [head_name(layer, head) for layer, head in names]
    for name in ("n", "n_total", "n_atp"):
        columns[name] = sums.of(name).reshape(-1).astype(np.int64)
    for name, values in sums.means().items():
        flat = values.reshape(-1)
        columns[name] = pa.array(flat, mask=~np.isfinite(flat))
    return pa.table(
        {name: columns[name] for name in head_effects_schema().names},
        schema=head_effects_schema(),
    )
