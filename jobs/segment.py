"""`headatlas segment`: every method's maps against masks, in one table.

Pictures are scored in shards, each a Parquet file of rows per picture and method; a rerun scores
only shards that are missing. The table is made from those rows.
"""

import io
import json
import shutil
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from jobs import console
from jobs.cluster import cluster, run_tasks, share_out
from jobs.segment_worker import Chunk, SegmentSpec, SegmentWorker
from pipeline import scoring
from pipeline.maps.data import IGNORE, open_data
from pipeline.maps.drawing import draw_rows
from pipeline.maps.methods import METHODS, methods_named
from schemas.config import Precision
from schemas.config_maps import SegmentConfig
from schemas.errors import RunFailed, StaleScan, UsageError
from schemas.names import safe_name
from warehouse import snapshots
from warehouse.atomic import write_bytes, write_table, write_text
from warehouse.layout import Warehouse
from warehouse.results import write_result

# Options that do not change a number.
FREE = {
    *("output", "restart", "workers", "gpus_per_worker", "ray_address", "examples", "batch_size"),
    "warehouse",
}


@dataclass(frozen=True)
class MethodScores:
    """One line of the table; shares, but for the last three.

    Attributes:
        method: its name.
        pixel_accuracy: foreground is above the map's mean.
        miou: of background and foreground, pooled.
        map: mean over pictures of the average precision.
        best_miou: foreground's, mean over classes, at the best threshold.
        best_threshold: that threshold, of the min-maxed map.
        msc: mean foreground less mean background of the min-maxed map.
        semantic_miou: argmax over the classes' maps; None without class masks.
        milliseconds: per picture; the median over batches.
        peak_mb: most memory that a batch took beyond the model, in 10^6 bytes.
        maps: number scored.
    """

    method: str
    pixel_accuracy: float
    miou: float
    map: float
    best_miou: float
    best_threshold: float
    msc: float
    semantic_miou: float | None
    milliseconds: float
    peak_mb: float
    maps: int


@dataclass(frozen=True)
class SegmentResult:
    """What was scored.

    Attributes:
        scores: best mIoU + mAP first.
        images: pictures scored.
        rejects: pictures left out, with reasons.
        multilabel_plain: mAP over classes of plain cosines; None without class masks.
        multilabel_surgery: the same by feature surgery.
        folder: scores.parquet, scores.csv, examples.png and the shards' rows.
    """

    scores: tuple[MethodScores, ...]
    images: int
    rejects: tuple[tuple[str, str], ...]
    multilabel_plain: float | None
    multilabel_surgery: float | None
    folder: Path
    seconds: float


def run(config: SegmentConfig) -> SegmentResult:
    """Score every method on a data set; go on where an earlier run stopped.

    Raises:
        StaleScan: the folder holds results of other options.
        RunFailed: some shards failed for good; the others are kept.
    """
    started = time.perf_counter()
    methods = tuple(methods_named(config.methods))
    if config.template.count("{}") != 1:
        raise UsageError(f"template {config.template!r}: expected exactly one {{}} for the class")
    data = open_data(config.data.absolute(), config.labels, config.classes)
    if config.asked == "true" and not data.by_class and None in data.labels:
        raise UsageError("asked true: the pictures' labels are not known; give --labels COLUMN")
    spec = SegmentSpec(config, data, methods, *_model(config), 1)
    _claim(config, spec)
    count = min(len(data.keys), config.limit or len(data.keys))
    chunks = [
        Chunk(i, min(i + config.shard_size, count), _parts(config) / f"part-{i:08d}.parquet")
        for i in range(0, count, config.shard_size)
    ]
    _score_missing(config, spec, [c for c in chunks if not c.path.is_file()], count)
    rows = pa.concat_tables([pq.read_table(c.path) for c in chunks])
    result = _result(config, methods, rows, time.perf_counter() - started)
    _store(config, spec, result)
    if config.examples and result.images:
        _page(config, spec, count)
    return result


def _model(config: SegmentConfig) -> tuple[str, str, Precision]:
    if config.model is not None:
        model = config.model
        if model.endswith(".json"):
            model = str(Path(model).absolute())
        pretrained = config.pretrained or "none"
        if Path(pretrained).is_file():
            pretrained = str(Path(pretrained).absolute())
        return model, pretrained, "fp32"
    if config.warehouse is None:
        raise UsageError(
            "no model: give --model and --pretrained, or --warehouse for a scan's model"
        )
    scan, _ = snapshots.open_scan(Warehouse(config.warehouse), config.scan)
    record = scan.load_record()
    return record.model_path, record.pretrained_path, record.precision


def _parts(config: SegmentConfig) -> Path:
    return config.output.absolute() / "parts"


def _claim(config: SegmentConfig, spec: SegmentSpec) -> None:
    """Say in the folder what its rows are of; refuse a folder of something else."""
    path = config.output / "segment.json"
    mine = {
        **{k: v for k, v in config.model_dump(mode="json").items() if k not in FREE},
        "methods": list(spec.methods),
        "model": [spec.model, spec.pretrained, spec.precision],
        "pictures": len(spec.data.keys),
        "classes": list(spec.data.classes),
    }
    if config.restart:
        shutil.rmtree(_parts(config), ignore_errors=True)
        path.unlink(missing_ok=True)
    if path.is_file():
        there = json.loads(path.read_text())
        other = sorted(k for k in mine.keys() | there.keys() if mine.get(k) != there.get(k))
        if other:
            raise StaleScan(
                f"{config.output} holds results with another {', '.join(other)}; give another "
                "--output, or --restart"
            )
        return
    _parts(config).mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(mine, indent=2) + "\n")


def _score_missing(
    config: SegmentConfig, spec: SegmentSpec, missing: list[Chunk], count: int
) -> None:
    if not missing:
        return
    before = count - sum(c.stop - c.start for c in missing)
    finished = before
    with cluster(config.ray_address) as have:
        share = share_out(have, config.workers, config.gpus_per_worker)
        spec = SegmentSpec(**{**vars(spec), "cpus": max(1, int(share.cpus))})
        sizes = {chunk.path: chunk.stop - chunk.start for chunk in missing}
        with console.progress("Scoring maps", count) as advance:

            def done(path: Path) -> None:
                nonlocal finished
                finished += sizes[path]
                advance(finished)

            failures = run_tasks(
                lambda: SegmentWorker(spec),
                missing,
                share,
                finished=done,
                advanced=lambda running: advance(min(finished + running, count)),
            )
    if failures:
        raise RunFailed(
            f"{len(failures)} of {len(missing)} shards failed, the first: {failures[0].reason}; "
            "run the same command again to try them again"
        )


def _result(
    config: SegmentConfig, methods: tuple[str, ...], rows: pa.Table, seconds: float
) -> SegmentResult:
    """Add up the rows of all pictures."""
    records = rows.to_pylist()
    by_method: dict[str, list[dict[str, Any]]] = {method: [] for method in methods}
    for row in records:
        if row["method"] is not None:
            by_method[row["method"]].append(row)
    scores = [_summary(method, found) for method, found in by_method.items() if found]
    labelled = [row for row in records if row["present"] is not None]
    plain, by_surgery = (_multilabel(labelled, name) for name in ("plain", "surgery"))
    return SegmentResult(
        scores=tuple(sorted(scores, key=lambda s: -(s.miou + s.map))),
        images=len({row["key"] for row in records if row["reason"] is None}),
        rejects=tuple((r["key"], r["reason"]) for r in records if r["reason"] is not None),
        multilabel_plain=plain,
        multilabel_surgery=by_surgery,
        folder=config.output,
        seconds=seconds,
    )


def _summary(method: str, rows: list[dict[str, Any]]) -> MethodScores:
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
    counts = [row["confusion"] for row in rows if row["confusion"] is not None]
    semantic = None
    if counts:
        total = np.sum(counts, axis=0)
        semantic = scoring.mean_iou(total.reshape(int(len(total) ** 0.5), -1))
    return MethodScores(
        method,
        **asdict(found),
        semantic_miou=semantic,
        milliseconds=float(np.median(column("milliseconds"))),
        peak_mb=float(column("peak_bytes").max() / 1e6),
        maps=len(rows),
    )


def _multilabel(rows: list[dict[str, Any]], name: str) -> float | None:
    if not rows:
        return None
    scores = np.array([row[name] for row in rows], dtype=np.float64)
    return scoring.multilabel_map(scores, np.array([row["present"] for row in rows]))


def scores_table(config: SegmentConfig, result: SegmentResult) -> pa.Table:
    """Return the table as rows of `segmentation_scores`."""
    names = [field.name for field in fields(MethodScores)]
    columns: dict[str, Any] = {
        name: [getattr(one, name) for one in result.scores] for name in names
    }
    constant = {
        "data": config.data.name,
        "protocol": config.protocol,
        "asked": config.asked,
        "images": result.images,
        "multilabel_plain": result.multilabel_plain,
        "multilabel_surgery": result.multilabel_surgery,
    }
    columns |= {name: [value] * len(result.scores) for name, value in constant.items()}
    floats = {"semantic_miou", "multilabel_plain", "multilabel_surgery"}
    return pa.table(
        {k: pa.array(v, pa.float64() if k in floats else None) for k, v in columns.items()}
    )


def _store(config: SegmentConfig, spec: SegmentSpec, result: SegmentResult) -> None:
    table = scores_table(config, result)
    write_table(config.output / "scores.parquet", table)
    drawn = io.BytesIO()
    pa.csv.write_csv(table, drawn)
    write_bytes(config.output / "scores.csv", drawn.getvalue())
    if config.warehouse is not None:
        name = f"{safe_name(config.data.name)}-{config.protocol}-{config.asked}.parquet"
        provenance = {"model": spec.model, "pretrained": spec.pretrained, "data": str(config.data)}
        write_result(config.warehouse / "segmentation" / name, table, provenance)


def _page(config: SegmentConfig, spec: SegmentSpec, count: int) -> None:
    """Draw pictures spread over the data set, every method side by side."""
    worker = SegmentWorker(SegmentSpec(**{**vars(spec), "cpus": 2}))
    numbers = np.unique(np.linspace(0, count - 1, config.examples).astype(int)).tolist()
    batch = worker.read(numbers, [])
    if batch is None:
        return
    asked = worker.asked(batch)
    shown = [i for i, classes in enumerate(asked) if classes]
    columns = []
    for method in spec.methods:
        values = worker.maps(method, batch).float().cpu().numpy()
        each = [values[i, asked[i][0] if spec.data.by_class else 0] for i in shown]
        columns.append((METHODS[method].title, each))
    masks = [np.isin(batch.masks[i], (0, IGNORE), invert=True).astype(float) for i in shown]
    names = [spec.data.classes[asked[i][0]] for i in shown]
    pictures = [worker.picture_of(batch, i) for i in shown]
    drawn = io.BytesIO()
    page = draw_rows(pictures, names, [("Mask", masks), *columns])
    page.savefig(drawn, format="png")
    write_bytes(config.output / "examples.png", drawn.getvalue())
