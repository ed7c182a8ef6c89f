"""Cosines of a model's modules over a sample of labelled pictures: `headatlas module-cosines`."""

import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jobs.commands.module_cosines import ModuleCosinesConfig, ModuleCosinesResult
from jobs.steps.chunks import add_up, do_missing, left_out, require_used
from jobs.steps.figures import save_figure
from jobs.steps.labelled import labelled
from jobs.steps.stored_chunks import stored_chunks
from jobs.workers.module_cosines import CosinesSpec, CosinesWorker
from jobs.workers.stored_pictures import SOURCE, reject_stored
from pipeline.heads.module_cosines import EMBEDDING, TARGETS, TRUE, WRONG, CosineSums
from schemas.errors import UsageError
from schemas.kinds import Part
from schemas.results import KINDS
from schemas.results.module_cosines import MODULE_COSINES, module_cosines_schema
from warehouse.files.layout import Warehouse
from warehouse.results.claims import Now
from warehouse.results.classifiers import Classifier, read_classifier
from warehouse.results.files import read_result, write_result
from warehouse.results.registry import result_path
from warehouse.store.opened import OpenedScan, open_snapshot

FIGURES = (".svg", ".png", ".pdf")
MODULES = (("attention", "-", "o"), ("mlp", "--", "s"))
COLOURS = {TRUE: "tab:green", WRONG: "tab:red", EMBEDDING: "tab:blue"}


def measure(config: ModuleCosinesConfig) -> ModuleCosinesResult:
    """Measure the cosines; see `jobs.commands.module_cosines.run`."""
    started = time.perf_counter()
    if config.output is not None and config.output.suffix.lower() not in FIGURES:
        raise UsageError(f"cannot draw {config.output.name!r}; expected {', '.join(FIGURES)}")
    opened = open_snapshot(Warehouse(config.warehouse.absolute()), config.scan)
    classifier = read_classifier(opened.warehouse, opened.scan, config.classifier)
    now = Now.opened(opened)
    options = config.model_dump(mode="json", include={"sample", "seed"})
    given = {Part.CLASSIFIER: config.classifier, Part.OPTIONS: options}
    claim = now.claim(KINDS[MODULE_COSINES], given)
    path = result_path(opened.scan, KINDS[MODULE_COSINES], config.classifier)
    reused = now.why_not(path, claim) is None
    if not reused:
        parts = opened.scan.unfinished / claim.digest[:16]
        sums, rejects = _summed(config, opened, classifier, parts)
        table = pa.Table.from_pylist(list(_rows(sums)), schema=module_cosines_schema())
        write_result(path, table, now.provenance(claim, rejects=rejects))
        shutil.rmtree(parts, ignore_errors=True)
    table, there = read_result(path)
    found = _by_module(table)
    if config.output is not None:
        save_figure(draw(found, opened.name), config.output)
    return ModuleCosinesResult(
        scan=opened.name,
        classifier=config.classifier,
        images=int(table["n"][0].as_py()),
        cosines=found,
        rejects=tuple(left_out(there)),
        path=path,
        drawn=config.output,
        reused=reused,
        seconds=time.perf_counter() - started,
    )


def _summed(
    config: ModuleCosinesConfig, opened: OpenedScan, classifier: Classifier, parts: Path
) -> tuple[CosineSums, list[tuple[str, str]]]:
    record, images = opened.record, opened.images([*SOURCE, "metadata"])
    chosen, own = labelled(images, opened.name, classifier, config.sample, config.seed)
    some = images.take(pa.array(chosen)).select(SOURCE)
    known = dict(zip(some["image_id"].to_pylist(), own.tolist(), strict=True))

    def make(cpus: int) -> CosinesWorker:
        return CosinesWorker(
            CosinesSpec(
                record=record,
                model=config.model or record.model_path,
                pretrained=config.pretrained or record.pretrained_path,
                batch_size=config.batch_size,
                cpus=cpus,
                weights=classifier.weights,
                truth=known,
            )
        )

    chunks = stored_chunks(some, config.shard_size, parts)
    reject = partial(reject_stored, CosineSums().to_table())
    sums = CosineSums()
    rejects = add_up(do_missing("Modules", chunks, config, make, reject), sums)
    require_used(any(sums.n.values()), len(chosen), rejects)
    return sums, rejects


def _rows(sums: CosineSums) -> Iterator[dict[str, Any]]:
    for module, layer in sorted(sums.n):
        mean, deviation = sums.means((module, layer))
        for i, target in enumerate(TARGETS):
            yield {
                "module": module,
                "layer": layer,
                "target": target,
                "n": sums.n[module, layer],
                "cosine": float(mean[i]),
                "deviation": float(deviation[i]),
            }


def _by_module(table: pa.Table) -> dict[tuple[str, int], tuple[float, float, float]]:
    found: dict[tuple[str, int], dict[str, float]] = {}
    for row in table.to_pylist():
        found.setdefault((row["module"], row["layer"]), {})[row["target"]] = row["cosine"]
    return {key: (of[TRUE], of[WRONG], of[EMBEDDING]) for key, of in found.items()}


def draw(cosines: dict[tuple[str, int], tuple[float, float, float]], title: str) -> Figure:
    """Draw the cosines by layer: a line for each kind of module and target."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for module, style, marker in MODULES:
        layers = sorted(layer for name, layer in cosines if name == module)
        for i, target in enumerate(TARGETS):
            values = [cosines[module, layer][i] for layer in layers]
            axes.plot(
                layers,
                values,
                style,
                marker=marker,
                markersize=4,
                color=COLOURS[target],
                label=f"{module}, {target}",
            )
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set_xlabel("layer")
    axes.set_ylabel("mean cosine of the direct contribution")
    axes.set_title(title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8, ncols=2)
    return figure
