"""Where every head looks for every text, over a whole data set: `headatlas map-statistics`.

Pictures are measured in chunks, each a Parquet file of sums by label; a rerun of the same command
measures only chunks that are missing. The table is made from those sums, and the chunks go.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from jobs import console
from jobs.commands.map_statistics import MapStatisticsConfig, MapStatisticsResult
from jobs.steps.chosen import chosen_heads
from jobs.steps.chunks import add_up, do_missing, left_out, require_used, split
from jobs.steps.digests import data_digest
from jobs.steps.models import load_for, pool_embeddings
from jobs.workers.map_statistics import Pictures, StatisticsSpec, StatisticsWorker, reject_chunk
from pipeline.maps.background import BACKGROUND
from pipeline.maps.pooled import EVERY, Pooled
from pipeline.masks.registry import Labelled, open_data
from pipeline.sources import list_members
from schemas.errors import SourceError, UsageError
from schemas.kinds import Part
from schemas.manifest import ScanRecord, digest
from schemas.members import Member
from schemas.names import safe_name
from schemas.results import KINDS
from schemas.results.head_map_statistics import HEAD_MAP_STATISTICS
from schemas.text import how_many
from warehouse.files.layout import Warehouse
from warehouse.results.claims import Claim, Now
from warehouse.results.files import read_provenance, write_result
from warehouse.results.registry import result_path
from warehouse.store import snapshots
from warehouse.store.pools import read_pool

# Rows of a table, all of them in memory while it is made: 0.5 GB.
MOST_ROWS = 4_000_000


@dataclass(frozen=True)
class _Texts:
    """The texts looked for, and those that they are compared with, by the scan's model."""

    texts: tuple[str, ...]
    against: tuple[str, ...]
    vectors: Float[np.ndarray, "text d_joint"]
    against_vectors: Float[np.ndarray, "label d_joint"]


@dataclass(frozen=True)
class _Data:
    """The pictures: a data set with masks, or members of a source.

    Attributes:
        fingerprint: of what is listed.
    """

    masked: Labelled | None
    members: tuple[Member, ...]
    labels: frozenset[str]
    count: int
    fingerprint: str


def measure(config: MapStatisticsConfig) -> MapStatisticsResult:
    """Measure every head's contribution maps; go on where an earlier run stopped.

    Raises:
        UsageError: no texts, no such head, no masks where they are asked for, or too many rows.
        SourceError: the pictures cannot be listed, or none can be used.
        RunFailed: some chunks failed for good; the others are kept.
    """
    started = time.perf_counter()
    scan, snapshot = snapshots.open_scan(Warehouse(config.warehouse.absolute()), config.scan)
    record = scan.load_record()
    n_layers, n_heads = record.model.n_layers, record.model.n_heads
    heads = chosen_heads(config.layers, config.heads, (), n_layers, n_heads).numpy()
    texts, against = _names(config)
    data = _data(config)
    _refuse_many(int(heads.sum()), len(texts), len(data.labels))
    now = Now(Warehouse(config.warehouse.absolute()), scan, record, snapshot)
    claim = _claim(config, now, texts, against, data)
    path = result_path(scan, KINDS[HEAD_MAP_STATISTICS], config.name or _name(config, claim))
    parts = scan.unfinished / claim.digest[:16]
    if config.restart:
        path.unlink(missing_ok=True)
        shutil.rmtree(parts, ignore_errors=True)
    reused = now.why_not(path, claim) is None
    if not reused:
        made = _encode(config, record, texts, against)
        files = _measure(config, record, heads, data, made, parts)
        _finish(config, data, heads, made, partial(now.provenance, claim), files, path)
    shutil.rmtree(parts, ignore_errors=True)
    there = read_provenance(path)
    return MapStatisticsResult(
        name=path.stem,
        scan=scan.name,
        path=path,
        images=there["images"],
        rejects=tuple(left_out(there)),
        heads=int(heads.sum()),
        texts=texts,
        labels=tuple(there["labels"]),
        reused=reused,
        seconds=time.perf_counter() - started,
    )


def _names(config: MapStatisticsConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the texts looked for, and those that they are compared with."""
    if bool(config.text) == (config.pool is not None):
        given = "both" if config.text else "neither"
        raise UsageError(
            f"texts: got {given} of --text and --pool; give --text once for each text to look "
            "for, or the --pool that holds them"
        )
    if config.pool is not None:
        texts = read_pool(Warehouse(config.warehouse), config.pool).texts
    else:
        texts = tuple(dict.fromkeys(text.strip() for text in config.text))
    if not texts or not all(texts):
        raise UsageError("texts: one is empty, or there is none; give words to look for")
    if config.against:
        return texts, tuple(config.against)
    return texts, texts if len(texts) > 1 else BACKGROUND


def _data(config: MapStatisticsConfig) -> _Data:
    """List the pictures, or recognise the data set with masks."""
    root = Path(config.data).absolute()
    pairs = (root / "images").is_dir() and (root / "masks").is_dir()
    if config.masks is None:
        if pairs:
            raise UsageError(
                f"{config.data} has masks/: give --masks foreground to measure what lies on them, "
                f"or {config.data}/images for the pictures alone"
            )
        if config.classes:
            raise UsageError("classes: names of the masks' classes; give --masks too")
        listing = list_members(
            config.data,
            labels=config.labels,
            path_column=config.path_column,
            root=config.root,
        )
        members = listing.members[: config.limit]
        prints = [(m.key, m.label, m.fingerprint) for m in members]
        labels = frozenset(m.label for m in members if m.label is not None)
        return _Data(None, members, labels, len(members), digest(prints))
    if config.path_column or config.root:
        raise UsageError("path-column and root are for listings, which have no masks; leave out")
    masked = _with_masks(config, root, pairs)
    count = min(len(masked.keys), config.limit or len(masked.keys))
    by_class = config.masks == "classes"
    names = masked.classes if by_class else masked.labels[:count]
    labels = frozenset(name for name in names if name is not None)
    listed = (masked.keys[:count], data_digest(masked))
    return _Data(masked, (), labels, count, digest(listed))


def _with_masks(config: MapStatisticsConfig, root: Path, pairs: bool) -> Labelled:
    by_class = config.masks == "classes"
    # a foreground needs no names of classes
    names = config.classes or (("foreground",) if pairs and not config.labels else ())
    try:
        masked = open_data(
            root,
            config.labels,
            config.classes if by_class else names,
            class_masks=by_class and pairs,
        )
    except SourceError as error:
        raise UsageError(f"masks {config.masks}: {config.data} has none; {error}") from None
    if by_class and not masked.by_class:
        raise UsageError(
            f"masks classes: those of {config.data} hold no classes; give --masks foreground"
        )
    return masked


def _refuse_many(heads: int, texts: int, labels: int) -> None:
    rows = heads * texts * (1 + labels)
    if rows > MOST_ROWS:
        raise UsageError(
            f"{heads} heads x {texts:,} texts x {1 + labels:,} groups of pictures: {rows:,} rows, "
            f"expected at most {MOST_ROWS:,}; give fewer texts, --layers, --heads, or no --labels"
        )


def _claim(
    config: MapStatisticsConfig,
    now: Now,
    texts: Sequence[str],
    against: Sequence[str],
    data: _Data,
) -> Claim:
    """Return everything that decides the table's numbers."""
    options = config.model_dump(mode="json", include={"masks", "layers", "heads", "shard_size"})
    options["against"] = "the texts" if against == texts else list(against)
    given: dict[Part, Any] = {Part.DATA: data.fingerprint, Part.OPTIONS: options}
    if config.pool is None:
        options["texts"] = list(texts)
    else:
        given[Part.POOL] = config.pool
    return now.claim(KINDS[HEAD_MAP_STATISTICS], given)


def _name(config: MapStatisticsConfig, claim: Claim) -> str:
    """Return the result's name where none is given: other questions have others."""
    where = config.data if "://" in config.data else str(Path(config.data).absolute())
    asked = [where, config.pool, config.labels, config.limit, claim.parts[Part.OPTIONS]]
    return f"{safe_name(Path(config.data).stem)[:100]}-{digest(asked)[:8]}"


def _encode(
    config: MapStatisticsConfig,
    record: ScanRecord,
    texts: tuple[str, ...],
    against: tuple[str, ...],
) -> _Texts:
    """Embed the texts by the scan's model; a pool's are kept beside it."""
    known: dict[str, np.ndarray] = {}
    if config.pool is not None:
        warehouse = Warehouse(config.warehouse)
        pool = read_pool(warehouse, config.pool)
        found = pool_embeddings(warehouse, pool, record, config.model, config.pretrained)
        known = dict(zip(texts, found, strict=True))
    missing = [text for text in dict.fromkeys((*texts, *against)) if text not in known]
    if missing:
        encode = load_for(record, config.model, config.pretrained).encode_text
        known |= zip(missing, encode(missing).numpy(), strict=True)
    vectors, against_vectors = (np.stack([known[t] for t in some]) for some in (texts, against))
    return _Texts(texts, against, vectors, against_vectors)


def _measure(
    config: MapStatisticsConfig,
    record: ScanRecord,
    heads: Bool[np.ndarray, "n_layers n_heads"],
    data: _Data,
    texts: _Texts,
    parts: Path,
) -> list[Path]:
    def make(cpus: int) -> StatisticsWorker:
        return StatisticsWorker(
            StatisticsSpec(
                record=record,
                model=config.model or record.model_path,
                pretrained=config.pretrained or record.pretrained_path,
                texts=texts.vectors,
                against=texts.against_vectors,
                layers=tuple(np.flatnonzero(heads.any(axis=1)).tolist()),
                data=data.masked,
                masks=config.masks,
                batch_size=config.batch_size,
                cpus=cpus,
            )
        )

    chunks = [
        Pictures(c.start, c.stop, c.path, data.members[c.start : c.stop])
        for c in split(data.count, config.shard_size, parts)
    ]
    return do_missing("Measuring maps", chunks, config, make, partial(reject_chunk, data.masked))


def _finish(
    config: MapStatisticsConfig,
    data: _Data,
    heads: Bool[np.ndarray, "n_layers n_heads"],
    texts: _Texts,
    provenance: Callable[..., dict[str, Any]],
    files: Sequence[Path],
    path: Path,
) -> None:
    """Make the table from the sums of all chunks."""
    pooled = Pooled()
    rejects = add_up(files, pooled)
    require_used(EVERY in pooled.groups, data.count, rejects)
    table = pooled.rows(texts.texts, heads, config.masks is not None)
    said = {
        "data": config.data,
        "texts": len(texts.texts),
        "against": list(texts.against) if texts.against != texts.texts else "the texts",
        "pool": config.pool,
        "masks": config.masks,
        "images": pooled.groups[EVERY].pictures,
        "labels": sorted(label for label in pooled.groups if label is not EVERY),
        "rejects": rejects,
    }
    write_result(path, table, provenance(**said))
    console.note(f"{how_many(len(table), 'row')} of head_map_statistics: {path}")
