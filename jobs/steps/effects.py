"""What heads do, over a data set: `headatlas effects`.

First the mean output of each head at each token, over the pictures of the scan or of the sample;
then effects. Both are chunks of pictures that a rerun goes on from; the means' chunks are kept for
other targets.
"""

import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int64

from jobs import console
from jobs.commands.effects import EffectsConfig, EffectsResult
from jobs.steps.chosen import chosen_heads
from jobs.steps.chunks import do_missing, left_out
from jobs.steps.effect_tables import Asked, write_tables
from jobs.steps.models import load_for
from jobs.steps.part_means import part_means, stored_spec
from jobs.steps.stored_chunks import stored_chunks
from jobs.steps.stratified import stratified
from jobs.steps.templates import read_lines
from jobs.workers.effects import PART, EffectsSpec, EffectsWorker, Gradients
from jobs.workers.stored_pictures import SOURCE, reject_stored
from pipeline.heads.effects import passes
from pipeline.heads.integrated import integrated_passes
from pipeline.heads.position_means import Layers
from schemas.errors import UsageError
from schemas.kinds import Part
from schemas.names import safe_name
from schemas.results import KINDS
from schemas.results.head_effects import HEAD_EFFECTS
from schemas.results.image_head_effects import IMAGE_HEAD_EFFECTS
from schemas.text import how_many
from warehouse.files.layout import Warehouse
from warehouse.results.claims import Claim, Now
from warehouse.results.classifiers import read_classifier
from warehouse.results.files import read_provenance
from warehouse.results.registry import result_path
from warehouse.store.opened import OpenedScan, open_snapshot

# Pictures of an exact run whose number is not given.
SAMPLE = 2_000
# Rows of image_head_effects.
MOST_ROWS = 20_000_000
_KINDS = (HEAD_EFFECTS, IMAGE_HEAD_EFFECTS)


def measure(config: EffectsConfig, *, dry_run: bool) -> EffectsResult:
    """Measure effects, or say what that would cost; see `jobs.commands.effects.run`."""
    started = time.perf_counter()
    opened = open_snapshot(Warehouse(config.warehouse.absolute()), config.scan)
    asked = _asked(config, opened)
    planned = _planned(config, opened, asked)
    _say_cheaper(config, asked, opened.record.model.n_layers)
    if dry_run:
        return planned
    now = Now.opened(opened)
    claims = {kind: _claim(config, now, kind, asked) for kind in _KINDS}
    paths = {kind: result_path(opened.scan, KINDS[kind], planned.name) for kind in _KINDS}
    parts = opened.scan.unfinished / claims[HEAD_EFFECTS].digest[:16]
    if config.restart:
        shutil.rmtree(parts, ignore_errors=True)
        for path in paths.values():
            path.unlink(missing_ok=True)
    reused = all(now.why_not(paths[kind], claims[kind]) is None for kind in _KINDS)
    if not reused:
        said = {"method": config.method, "images": planned.images, "checked": planned.checked}
        said["means"] = planned.means
        provenances = {k: partial(now.provenance, claim, **said) for k, claim in claims.items()}
        files, without = _effects(config, opened, asked, parts)
        write_tables(asked, files, without, paths, provenances)
    shutil.rmtree(parts, ignore_errors=True)
    there = read_provenance(paths[HEAD_EFFECTS])
    return replace(
        planned,
        atp_r={int(layer): r for layer, r in there["atp_r"].items()},
        rejects=tuple(left_out(there)),
        path=paths[HEAD_EFFECTS],
        reused=reused,
        seconds=time.perf_counter() - started,
    )


def _planned(config: EffectsConfig, opened: OpenedScan, asked: Asked) -> EffectsResult:
    """Return what is going to be measured, and what it costs.

    Raises:
        UsageError: more rows than a table may have.
    """
    exact = asked.chosen if config.method == "exact" else asked.checked
    rows = len(exact) * len(asked.pairs) * len(asked.targets)
    if rows > MOST_ROWS:
        raise UsageError(
            f"{len(exact):,} pictures x {len(asked.pairs)} heads x {len(asked.targets):,} targets: "
            f"{rows:,} rows, expected at most {MOST_ROWS:,}; give a smaller --sample, --heads, "
            "--layers, or fewer targets"
        )
    means = len(_mean_of(config, asked))
    return EffectsResult(
        name=config.name
        or config.classifier
        or (config.texts and safe_name(config.texts.stem))
        or "",
        scan=opened.name,
        heads=len(asked.pairs),
        targets=asked.targets,
        images=len(asked.chosen),
        checked=len(asked.checked),
        means=means,
        passes=_cost(config, asked, means, opened.record.model.n_layers),
        rows=rows,
        atp_r={},
        rejects=(),
        path=None,
        reused=False,
        seconds=0.0,
    )


def _mean_of(config: EffectsConfig, asked: Asked) -> Int64[np.ndarray, " image"]:
    """Return the places of the pictures that means are taken over: the sample's, or all."""
    return asked.chosen if config.sample else np.arange(len(asked.images))


def _asked(config: EffectsConfig, opened: OpenedScan) -> Asked:
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
    if not model.n_layers:
        raise UsageError(
            f"{model.model} has heads in its pool alone, and no layer reads them: what one does in "
            "total is what headatlas ablate --total --heads says"
        )
    mask = chosen_heads(config.layers, config.heads, (), model.n_layers, model.n_heads).numpy()
    heads = {int(n): np.flatnonzero(mask[n]).tolist() for n in np.flatnonzero(mask.any(axis=1))}
    images = opened.images(SOURCE)
    labels = images["label"].to_pylist()
    count = config.sample or (SAMPLE if config.method == "exact" else len(labels))
    chosen = stratified(labels, count, config.seed)
    if not len(chosen):
        raise UsageError(f"scan {opened.name!r} holds no picture; scan some first")
    places = stratified([labels[i] for i in chosen.tolist()], config.check, config.seed)
    return Asked(images, chosen, chosen[places], heads, targets)


def _cost(config: EffectsConfig, asked: Asked, means: int, n_layers: int) -> float:
    """Return forward passes of the whole: 2 a picture for means, then by the formulas."""
    exact, atp = passes(n_layers, asked.heads), _atp_passes(config, asked, n_layers)
    n, both = len(asked.chosen), len(asked.checked)
    main, other = (exact, atp) if config.method == "exact" else (atp, exact)
    # class_only is a second run of the replaced heads
    return 2 * means + n * (1 + main) + both * (other + exact)


def _gradients(config: EffectsConfig) -> Gradients:
    if config.gradient_dropout:
        return "dropout"
    return "first order" if config.first_order else "integrated"


def _atp_passes(config: EffectsConfig, asked: Asked, n_layers: int) -> float:
    """Return the passes of a picture by gradients, a backward pass counted as one."""
    match _gradients(config):
        case "integrated":
            return integrated_passes(n_layers, asked.heads, len(asked.targets))
        case "first order":
            return 1.0 + len(asked.targets)
        case "dropout":
            return 1.0 + len(asked.targets) * n_layers


def _say_cheaper(config: EffectsConfig, asked: Asked, n_layers: int) -> None:
    """Say so where many targets make gradients dearer than running the model."""
    exact, atp = passes(n_layers, asked.heads), _atp_passes(config, asked, n_layers)
    if config.method == "atp" and exact < atp:
        console.note(
            f"--method exact takes {exact:.1f} passes a picture here, atp {atp:.1f}: a backward "
            f"pass for each of {how_many(len(asked.targets), 'target')}"
        )


def _claim(config: EffectsConfig, now: Now, kind: str, asked: Asked) -> Claim:
    """Return everything that decides the tables' numbers."""
    decide = {"sample", "method", "check", "layers", "heads", "seed", "shard_size"}
    options = config.model_dump(mode="json", include=decide)
    options["gradients"] = _gradients(config)
    given: dict[Part, Any] = {Part.OPTIONS: options}
    if config.classifier is None:
        options["texts"] = list(asked.targets)
    else:
        given[Part.CLASSIFIER] = config.classifier
    return now.claim(KINDS[kind], given)


def _directions(
    config: EffectsConfig, opened: OpenedScan, asked: Asked
) -> Float[np.ndarray, "target d_joint"]:
    import torch

    from pipeline.heads.effects import class_directions

    if config.classifier is not None:
        weights = read_classifier(opened.warehouse, opened.scan, config.classifier).weights
        found: np.ndarray = class_directions(torch.tensor(weights)).float().numpy()
        return found
    loaded = load_for(opened.record, config.model, config.pretrained)
    return loaded.encode_text(list(asked.targets)).numpy()


def _effects(
    config: EffectsConfig, opened: OpenedScan, asked: Asked, parts: Path
) -> tuple[list[Path], list[tuple[str, str]]]:
    """Measure what is missing; return the chunks' files, and what the means leave out."""
    targets = _directions(config, opened, asked)
    layers = Layers(list(asked.heads))
    means, without = part_means(config, opened, asked.images, _mean_of(config, asked), layers)

    def make(cpus: int) -> EffectsWorker:
        return EffectsWorker(
            EffectsSpec(
                **vars(stored_spec(config, opened, cpus)),
                heads=asked.heads,
                means=means,
                targets=targets,
                method=config.method,
                gradients=_gradients(config),
            )
        )

    marked = asked.images["image_id"].take(pa.array(asked.checked)).to_pylist()
    chosen = asked.images.take(pa.array(asked.chosen))
    chunks = stored_chunks(chosen, config.shard_size, parts, marked)
    reject = partial(reject_stored, PART.empty_table())
    return do_missing("Effects of heads", chunks, config, make, reject), without
