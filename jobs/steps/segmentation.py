"""Every method's maps against masks, in one table: the work of `headatlas segment`.

Pictures are scored in shards, each a Parquet file of rows per picture and method; a rerun scores
only shards that are missing. The table is made from those rows.
"""

import io
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from jobs.commands.segment import MethodScores, SegmentConfig, SegmentResult
from jobs.steps.chunks import do_missing, split
from jobs.steps.digests import checkpoint_digest, data_digest, files_digest
from jobs.steps.early import weights_given
from jobs.steps.figures import save_figure
from jobs.workers.segment import BY_SAM, SCORES, SegmentSpec, SegmentWorker, reject_chunk
from pipeline.maps import scoring
from pipeline.maps.drawing import draw_page
from pipeline.maps.registry import given_by, methods_named
from pipeline.maps.segmenter import check_segmenter
from pipeline.masks.registry import IGNORE, open_data
from schemas.config import Precision
from schemas.errors import StaleScan, UsageError
from schemas.kinds import Part
from schemas.manifest import ScanRecord, digest
from schemas.names import safe_name
from schemas.results.segmentation_scores import KIND, segmentation_scores_schema
from schemas.written import EXAMPLES, PARTS, SCORES_CSV, SCORES_FILE, SEGMENT
from warehouse.files.atomic import write_bytes, write_table, write_text
from warehouse.files.layout import Warehouse
from warehouse.results import segmentation
from warehouse.results.claims import OLDER, Claim, Now, differences
from warehouse.results.files import STANDS_ON
from warehouse.store import snapshots

# What a score depends on, beside the model, the data and its classes.
DECIDE = {"protocol", "asked", "background", "template", "limit", "masks"}


@dataclass(frozen=True)
class _Model:
    """What the maps are made with.

    Attributes:
        path: as `load_model` takes it.
        pretrained_path: the same of its weights.
        scan: the scan whose model it is; None where the model was named.
        record: of that scan; every worker checks that it loads the same weights.
        name: as in the table.
        pretrained: as in the table.
    """

    path: str
    pretrained_path: str
    precision: Precision
    scan: str | None
    name: str
    pretrained: str
    record: ScanRecord | None = None


def score(config: SegmentConfig) -> SegmentResult:
    """Score every method on a data set; go on where an earlier run stopped.

    Raises:
        StaleScan: the folder holds results of other options.
        RunFailed: some shards failed for good; the others are kept.
    """
    started = time.perf_counter()
    found = methods_named(config.methods, given_by(config.eclip))
    methods = tuple(found)
    if config.template.count("{}") != 1:
        raise UsageError(f"template {config.template!r}: expected exactly one {{}} for the class")
    if config.sam is not None:
        check_segmenter(config.sam)
        if config.protocol != "aligned":
            raise UsageError(
                "--sam segments what the model sees: it takes --protocol aligned, not "
                f"{config.protocol}"
            )
    by_class = config.masks == "classes"
    data = open_data(config.data.absolute(), config.labels, config.classes, class_masks=by_class)
    if config.asked == "true" and not data.by_class and None in data.labels:
        raise UsageError("asked true: the pictures' labels are not known; give --labels COLUMN")
    model = _model(config)
    spec = SegmentSpec(
        config, data, methods, model.path, model.pretrained_path, model.precision, 1, model.record
    )
    identities = [method.identity for method in found.values()]
    now = Now(Warehouse(config.warehouse or config.output))
    claim = _claim(config, spec, model, identities, now)
    _hold(config, claim)
    count = min(len(data.keys), config.limit or len(data.keys))
    chunks = split(count, config.shard_size, _parts(config))
    files = do_missing(
        "Scoring maps",
        chunks,
        config,
        lambda cpus: SegmentWorker(replace(spec, cpus=cpus)),
        partial(reject_chunk, data),
    )
    rows = pa.concat_tables([pq.read_table(path) for path in files])
    run_name = _run_name(config, model, identities)
    result = _result(config, spec, rows, run_name, time.perf_counter() - started)
    _store(config, model, result, partial(now.provenance, claim))
    if config.examples and result.images:
        _page(config, spec, count)
    return result


def _model(config: SegmentConfig) -> _Model:
    if config.model is not None:
        model, pretrained = config.model, weights_given(config.model, config.pretrained)
        name, weights = model, pretrained
        if model.endswith(".json"):
            model, name = str(Path(model).absolute()), Path(model).stem
        if Path(pretrained).is_file():
            pretrained, weights = str(Path(pretrained).absolute()), Path(pretrained).name
        return _Model(model, pretrained, "fp32", None, name, weights)
    if config.warehouse is None:
        raise UsageError(
            "no model: give --model and --pretrained, or --warehouse for a scan's model"
        )
    scan, _ = snapshots.open_scan(Warehouse(config.warehouse), config.scan)
    record = scan.load_record()
    return _Model(
        record.model_path,
        record.pretrained_path,
        record.precision,
        scan.name,
        record.model.model,
        record.model.pretrained,
        record,
    )


def _parts(config: SegmentConfig) -> Path:
    return config.output.absolute() / PARTS


def _run_name(config: SegmentConfig, model: _Model, methods: list[str]) -> str:
    """Return the name of the run: another one for each set of options that changes a score."""
    parts = (config.data.absolute().name, model.name, f"{config.protocol}-{config.asked}")
    asked = {
        **config.model_dump(mode="json", include=DECIDE | {"labels", "classes", "eclip"}),
        "data": str(config.data.absolute()),
        "methods": methods,
        "model": [model.path, model.pretrained_path, model.precision],
    }
    if config.sam is not None:
        asked["sam"] = str(config.sam)
    return "--".join([*map(safe_name, parts), digest(asked)[:8]])


def _claim(
    config: SegmentConfig, spec: SegmentSpec, model: _Model, methods: list[str], now: Now
) -> Claim:
    """Return what the scores stand on: model, pictures, masks and classes by content, options."""
    options = {
        **config.model_dump(mode="json", include=DECIDE),
        "methods": methods,
        "precision": spec.precision,
        "eclip": files_digest([config.eclip]) if config.eclip else None,
    }
    if config.sam is not None:
        options["sam"] = files_digest([config.sam])
    given: dict[Part, Any] = {
        Part.CHECKPOINT: checkpoint_digest(model.path, model.pretrained_path),
        Part.DATA: data_digest(spec.data),
        Part.CLASSES: list(spec.data.classes),
        Part.OPTIONS: options,
    }
    if model.scan is not None:
        given[Part.MODEL] = model.scan
    return now.claim(KIND, given)


def _hold(config: SegmentConfig, claim: Claim) -> None:
    """Say in the folder what its parts are of; refuse a folder of something else.

    Raises:
        StaleScan: there are parts of another claim, or cut in another way.
    """
    path = config.output / SEGMENT
    cut = {"shard_size": config.shard_size, "columns": SCORES.names}
    mine = {"format": claim.kind.format, STANDS_ON: dict(claim.parts), **cut}
    if config.restart:
        shutil.rmtree(_parts(config), ignore_errors=True)
        path.unlink(missing_ok=True)
    if path.is_file():
        there = json.loads(path.read_text(encoding="utf-8"))
        if there == mine:
            return
        why = [f"another {name}" for name in cut if there.get(name) != mine[name]]
        if STANDS_ON in there:
            why = [*differences(there, claim), *why]
        raise StaleScan(
            f"{config.output} holds other results: {'; '.join(why) or OLDER}; give another "
            "--output, or --restart"
        )
    _parts(config).mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(mine, indent=2) + "\n")


def _result(
    config: SegmentConfig, spec: SegmentSpec, rows: pa.Table, run: str, seconds: float
) -> SegmentResult:
    """Add up the rows of all pictures."""
    records = rows.to_pylist()
    names = [*spec.methods, *(f"{m}{BY_SAM}" for m in spec.methods if config.sam is not None)]
    by_method: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    # the background is the last class, where it is one
    classes = len(spec.data.classes) + (config.background is not None)
    for row in records:
        if row["method"] is not None:
            by_method[row["method"]].append(row)
    scores = [_summary(method, found, classes) for method, found in by_method.items() if found]
    labelled = [row for row in records if row["present"] is not None]
    plain, by_surgery = (_multilabel(labelled, name) for name in ("plain", "surgery"))
    return SegmentResult(
        scores=tuple(sorted(scores, key=lambda s: -(s.miou + s.map))),
        images=len({row["key"] for row in records if row["reason"] is None}),
        rejects=tuple((r["key"], r["reason"]) for r in records if r["reason"] is not None),
        multilabel_plain=plain,
        multilabel_surgery=by_surgery,
        folder=config.output,
        run=run,
        seconds=seconds,
    )


def _summary(method: str, rows: list[dict[str, Any]], classes: int) -> MethodScores:
    def column(name: str) -> np.ndarray:
        return np.array([row[name] for row in rows])

    found = scoring.summarise(
        column("correct"),
        column("pixels"),
        column("intersection"),
        column("union"),
        column("average_precision"),
        column("contrast"),
        column("at_threshold").reshape(len(rows), 2, -1),
        column("class"),
    )
    pairs = [(row["cells"], row["cell_pixels"]) for row in rows if row["cells"] is not None]
    semantic = None
    if pairs:
        cells, pixels = (np.concatenate(part) for part in zip(*pairs, strict=True))
        counts = scoring.Confusion(cells.astype(np.int64), pixels.astype(np.int64), classes)
        semantic = scoring.mean_iou(counts.dense())
    return MethodScores(
        method,
        **asdict(found),
        semantic_miou=semantic,
        milliseconds=float(np.median(column("milliseconds"))),
        peak_mb=float(column("peak_bytes").max() / 1e6),
        maps=len(rows),
        device=", ".join(sorted({row["device"] for row in rows})),
    )


def _multilabel(rows: list[dict[str, Any]], name: str) -> float | None:
    if not rows:
        return None
    scores = np.array([row[name] for row in rows], dtype=np.float64)
    return scoring.multilabel_map(scores, np.array([row["present"] for row in rows]))


def scores_table(config: SegmentConfig, model: _Model, result: SegmentResult) -> pa.Table:
    """Return the table as rows of `segmentation_scores`."""
    constant = {
        "run": result.run,
        "scan_id": model.scan,
        "model": model.name,
        "pretrained": model.pretrained,
        "data": config.data.absolute().name,
        "protocol": config.protocol,
        "asked": config.asked,
        "background": config.background,
        "images": result.images,
        "rejects": len(result.rejects),
        "multilabel_plain": result.multilabel_plain,
        "multilabel_surgery": result.multilabel_surgery,
    }
    rows = [constant | asdict(one) for one in result.scores]
    return pa.Table.from_pylist(rows, schema=segmentation_scores_schema())


def _store(
    config: SegmentConfig,
    model: _Model,
    result: SegmentResult,
    provenance: Callable[..., dict[str, Any]],
) -> None:
    table = scores_table(config, model, result)
    write_table(config.output / SCORES_FILE, table)
    drawn = io.BytesIO()
    pa.csv.write_csv(table, drawn)
    write_bytes(config.output / SCORES_CSV, drawn.getvalue())
    if config.warehouse is not None:
        said = {
            "model": model.path,
            "pretrained": model.pretrained_path,
            "precision": model.precision,
            "options": config.model_dump(mode="json", exclude={"warehouse", "output", "restart"}),
        }
        warehouse = Warehouse(config.warehouse)
        segmentation.write_run(warehouse, result.run, table, provenance(**said))


def _name(spec: SegmentSpec, number: int, asked: int) -> str:
    """Return the class whose map is drawn; where it is predicted and wrong, the true one too."""
    name, true = spec.data.classes[asked], spec.data.labels[number]
    return name if true in (None, name) else f"{name} (true: {true})"


def _page(config: SegmentConfig, spec: SegmentSpec, count: int) -> None:
    """Draw pictures spread over the data set, every method side by side."""
    worker = SegmentWorker(replace(spec, cpus=2))
    numbers = np.unique(np.linspace(0, count - 1, config.examples).astype(int)).tolist()
    batch = worker.read(numbers, [])
    if batch is None:
        return
    asked = worker.asked(batch)
    shown = [i for i, classes in enumerate(asked) if classes]
    rows = []
    for method in spec.methods:
        maps = worker.maps(method, batch)
        values = maps.float().cpu().numpy()
        each = [values[i, asked[i][0] if spec.data.by_class else 0] for i in shown]
        rows.append((worker.methods[method].heading, each))
        if worker.segmenter is not None:
            by_sam = worker.masks(worker.segmenter, batch, {method: worker.prompts(batch, maps)})
            masked = [by_sam[method][i][0].astype(float) for i in shown]
            rows.append((f"{worker.methods[method].heading}, by SAM", masked))
    masks = [np.isin(batch.masks[i], (0, IGNORE), invert=True).astype(float) for i in shown]
    names = [_name(spec, batch.numbers[i], asked[i][0]) for i in shown]
    every = worker.pictures_of(batch)
    pictures = [every[i] for i in shown]
    save_figure(draw_page(pictures, names, masks, rows), config.output / EXAMPLES)
