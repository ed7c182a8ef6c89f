"""Checking a scan's live files against what was written: bytes, counts, layout, values."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import CorruptStore, NewerFormat
from schemas.files import IMAGES, MOMENTS, REJECTS, SUMS, pool_schema
from schemas.manifest import ScanRecord, ShardManifest, Snapshot
from schemas.written import POOL
from warehouse.files.atomic import sha256_file
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.results.claims import claim_digest
from warehouse.results.files import (
    STANDS_ON,
    check_columns,
    check_seal,
    read_provenance,
    read_result,
)
from warehouse.results.registry import stored
from warehouse.store import snapshots
from warehouse.store.pools import EMBEDDINGS, pools
from warehouse.store.reading import matrix, single_value
from warehouse.store.shards import MANIFEST, contributions_path, finite, load_manifest, mlp_path

EXTRA: Final = "not in the manifest"
# Components whose moments can always be had of all pictures.
WHOLE: Final = frozenset({"head", "embedding"})


@dataclass(frozen=True)
class Problem:
    """Something that is not as it was written; `file` is relative to the shard or the scan."""

    shard: str
    file: str
    problem: str


@dataclass(frozen=True)
class Report:
    """What was checked, and what was found."""

    scan: str
    shards: int
    images: int
    rejects: int
    problems: tuple[Problem, ...]


def verify(scan: ScanDir, *, deep: bool = True, sample: int | None = None) -> Report:
    """Check every live shard; `deep` adds checksums and the stored values themselves.

    With `sample`, the vectors of so many shards alone are read, drawn at random.
    """
    record, snapshot = scan.load_record(), snapshots.latest(scan)
    if snapshot is None:
        none = Problem("", "snapshots", "no snapshot: the scan was never finished")
        return Report(scan.name, 0, 0, 0, (none,))
    problems: list[Problem] = list(_scan_problems(scan, record, snapshot))
    problems += _result_problems(scan, scan.path, deep)
    keys: Counter[str] = Counter()
    ids: list[np.ndarray] = []
    drawn = {live.shard for live in snapshot.shards}
    if sample is not None and sample < len(drawn):
        drawn = set(random.sample(sorted(drawn), sample))
    for live in snapshot.shards:
        folder, vectors = scan.shard(live.shard), deep and live.shard in drawn
        if not (folder / MANIFEST).is_file():
            problems.append(Problem(live.shard, MANIFEST, "missing: the shard is not reachable"))
            continue
        if sha256_file(folder / MANIFEST) != live.manifest_sha256:
            problems.append(Problem(live.shard, MANIFEST, "differs from the snapshot's digest"))
        try:
            manifest = load_manifest(scan, live.shard)
            found = list(_file_problems(scan, manifest, deep, vectors))
            problems += found
            if all(p.problem == EXTRA for p in found):
                problems += _row_problems(scan, manifest, record, vectors, keys, ids)
        except (CorruptStore, pa.ArrowException, OSError, KeyError, ValueError) as error:
            problems.append(Problem(live.shard, "", " ".join(str(error).split())[:200]))
    problems += [
        Problem("", IMAGES, f"key {key!r} is stored {n} times") for key, n in keys.items() if n > 1
    ]
    together = np.concatenate(ids) if ids else np.empty(0, np.int64)
    if len(np.unique(together)) != len(together):
        problems.append(Problem("", IMAGES, "an image_id is stored twice"))
    if len(together) and together.max() >= snapshot.next_image_id:
        problems.append(Problem("", IMAGES, "an image_id is not below next_image_id"))
    return Report(
        scan.name, len(snapshot.shards), snapshot.images, snapshot.rejects, tuple(problems)
    )


def _scan_problems(scan: ScanDir, record: ScanRecord, snapshot: Snapshot) -> Iterator[Problem]:
    if snapshot.fingerprint != record.fingerprint():
        yield Problem("", "scan.json", "its fingerprint is not that of the newest snapshot")
    if not scan.frames.is_file():
        yield Problem("", scan.frames.name, "missing")
    elif sha256_file(scan.frames) != record.frames_sha256:
        yield Problem("", scan.frames.name, "differs from the digest in scan.json")
    table = scan.frame_table(record.frames_sha256)
    if table.is_file():
        try:
            check_seal(table)
        except CorruptStore as error:
            yield Problem("", table.name, f"{error}: delete it and run the scan again")
    counts = sum(s.rows for s in snapshot.shards), sum(s.rejects for s in snapshot.shards)
    if counts != (snapshot.images, snapshot.rejects):
        yield Problem("", "snapshot", f"{counts} rows and rejects in its shards, not as it says")

    try:
        of = read_provenance(scan.rejects).get("snapshot", 0)
        rows = pq.read_metadata(scan.rejects).num_rows
    except CorruptStore as error:
        yield Problem("", scan.rejects.name, str(error))
        return
    # of a later snapshot when a run was killed just before its commit: the next one writes it again
    if of < snapshot.number or (of == snapshot.number and rows != snapshot.rejects):
        yield Problem(
            "", scan.rejects.name, f"{rows} rejects of snapshot {of}, not the newest snapshot's"
        )


def _result_problems(place: ScanDir | Warehouse, root: Path, deep: bool) -> Iterator[Problem]:
    """Yield the results that are not whole, not as written, or whose claim is not its digest."""
    for kind, path in stored(place):
        try:
            if deep:
                check_seal(path)
            check_columns(path, kind)
            _, said = read_result(path)
        except (CorruptStore, NewerFormat) as error:
            yield Problem("", str(path.relative_to(root)), " ".join(str(error).split()))
            continue
        parts = said.get(STANDS_ON)
        if parts is not None and said["claim"] != claim_digest(kind.name, said["format"], parts):
            yield Problem("", str(path.relative_to(root)), "its claim is not that of its parts")


def verify_shared(warehouse: Warehouse, *, deep: bool = True) -> list[Problem]:
    """Check what belongs to no scan: description pools, their embeddings, and runs of segment."""
    found = list(_result_problems(warehouse, warehouse.root, deep))
    for name in pools(warehouse):
        pool = warehouse.pools / name / POOL
        for path in (pool, *sorted(pool.parent.glob(EMBEDDINGS))):
            try:
                if deep:
                    check_seal(path)
                table = read_result(path)[0]
                if path == pool and not table.schema.equals(pool_schema()):
                    raise CorruptStore(f"{path} has not the columns of a description pool")
            except CorruptStore as error:
                found.append(Problem("", str(path.relative_to(warehouse.root)), str(error)))
    return found


def _file_problems(
    scan: ScanDir, manifest: ShardManifest, deep: bool, vectors: bool
) -> Iterator[Problem]:
    folder = scan.shard(manifest.shard)
    there = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} - {MANIFEST}
    for name in sorted(there - manifest.files.keys()):
        yield Problem(manifest.shard, name, EXTRA)
    for name, file in manifest.files.items():
        path = folder / name
        if name not in there:
            yield Problem(manifest.shard, name, "missing")
        elif path.stat().st_size != file.bytes:
            yield Problem(manifest.shard, name, f"{path.stat().st_size} bytes, not {file.bytes}")
        elif deep and (vectors or "/" not in name) and sha256_file(path) != file.sha256:
            yield Problem(manifest.shard, name, "its sha256 is not the manifest's")


def _row_problems(
    scan: ScanDir,
    manifest: ShardManifest,
    record: ScanRecord,
    deep: bool,
    keys: Counter[str],
    ids: list[np.ndarray],
) -> Iterator[Problem]:
    folder, shard = scan.shard(manifest.shard), manifest.shard
    columns = ["image_id", "key", *(["embedding"] if deep else [])]
    images = pq.read_table(folder / IMAGES, columns=columns, partitioning=None)
    rejects = pq.read_table(folder / REJECTS, columns=["key"], partitioning=None)
    image_id = images["image_id"].to_numpy()
    keys.update(images["key"].to_pylist())
    keys.update(rejects["key"].to_pylist())
    ids.append(image_id)
    if (len(images), len(rejects)) != (manifest.rows, manifest.rejects):
        yield Problem(shard, IMAGES, f"{len(images)} rows and {len(rejects)} rejects, not as said")
    if manifest.fingerprint != record.fingerprint():
        yield Problem(shard, MANIFEST, "its fingerprint is not the scan's")
    if deep and len(images):
        norms = np.linalg.norm(matrix(images["embedding"]), axis=1)
        if not np.allclose(norms, 1, atol=1e-3):
            yield Problem(shard, IMAGES, "an embedding is not of unit norm")
    moments = pq.read_table(folder / MOMENTS, columns=["component", "n"], partitioning=None)
    counts = zip(moments["component"].to_pylist(), moments["n"].to_pylist(), strict=True)
    # a merged shard of an older version may have moments of a part, of what has no rows
    if any(n > len(images) or (n < len(images) and name in WHOLE) for name, n in counts):
        yield Problem(shard, MOMENTS, "moments do not count the shard's pictures")
    if not len(images):
        return
    for name in SUMS.values():
        if name in manifest.files:
            counts = pq.read_table(folder / name, columns=["count"], partitioning=None)
            if set(counts["count"].to_pylist()) != {len(images)}:
                yield Problem(shard, name, "its sums do not count the shard's pictures")
    for layer in record.layers:
        yield from _layer_problems(scan, manifest, record, layer, image_id, deep)
    if "mlp" in record.stored:
        for layer in range(record.model.n_layers):
            path = folder / mlp_path(layer)
            rows = pq.read_table(path, columns=["image_id"], partitioning=None)
            if not np.array_equal(rows["image_id"].to_numpy(), image_id):
                yield Problem(shard, mlp_path(layer), "its pictures are not those of images")


def _layer_problems(
    scan: ScanDir,
    manifest: ShardManifest,
    record: ScanRecord,
    layer: int,
    image_id: np.ndarray,
    deep: bool,
) -> Iterator[Problem]:
    name = contributions_path(layer)
    with pq.ParquetFile(scan.shard(manifest.shard) / name) as file:
        if file.num_row_groups != record.model.heads_of(layer):
            yield Problem(
                manifest.shard,
                name,
                f"{file.num_row_groups} row groups, expected one for each of "
                f"{record.model.heads_of(layer)} heads",
            )
            return
        for head in range(file.num_row_groups):
            said = single_value(file, head, "layer"), single_value(file, head, "head")
            if said != (layer, head):
                yield Problem(
                    manifest.shard, name, f"row group {head}: statistics say {said}, not one head"
                )
            wanted = ["image_id", *(["vector"] if deep else [])]
            rows = file.read_row_group(head, columns=wanted)
            if not np.array_equal(rows["image_id"].to_numpy(), image_id):
                yield Problem(manifest.shard, name, f"head {head}: not the pictures of images")
            if deep and not finite(matrix(rows["vector"])):
                yield Problem(manifest.shard, name, f"head {head}: a number is not finite")
