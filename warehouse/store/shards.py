"""Shards: a few thousand pictures' contributions, written once, whole, and never changed.

A shard is written into a uniquely named temporary folder, its manifest last, and renamed into
place; whoever comes second discards its copy. So two workers on one shard, or a worker that
outlives its driver, do no harm.
"""

import shutil
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Float16, Int64

from schemas.errors import CorruptStore, StoreError
from schemas.files import (
    CONTRIBUTIONS,
    IMAGES,
    MLP,
    MOMENTS,
    REJECTS,
    SUMS,
    contributions_schema,
    images_schema,
    mlp_schema,
    moments_schema,
    rejects_schema,
    sums_schema,
)
from schemas.manifest import FileRecord, ShardManifest, Timing
from warehouse.files.atomic import PARQUET, fsync, install_folder, sha256_file, temporary_beside
from warehouse.files.documents import read_document
from warehouse.files.layout import ScanDir

MANIFEST: Final = "manifest.json"

# Dictionaries inflate vectors, and DuckDB cannot read BYTE_STREAM_SPLIT on float16. Statistics on
# layer and head are what lets a reader of one head skip all others.
_LONG: Final[dict[str, Any]] = {
    **PARQUET,
    "use_dictionary": ["layer", "head"],
    "column_encoding": {"image_id": "DELTA_BINARY_PACKED"},
    "write_statistics": ["layer", "head", "image_id"],
}
IMAGES_OPTIONS: Final[dict[str, Any]] = {
    **PARQUET,
    "use_dictionary": ["label"],
    "write_statistics": ["image_id", "key", "label"],
}


@dataclass(frozen=True)
class ShardPayload:
    """What a shard stores; all arrays have the rows of `images`, in its order.

    Attributes:
        images: `images_schema`, ascending by image_id.
        rejects: `rejects_schema`.
        moments: `moments_schema`, of this shard's pictures.
        contributions: by layer.
        mlp: by layer; empty unless the scan stores it.
        sums: by what `--store` names (`SUMS`), over the pictures.
    """

    images: pa.Table
    rejects: pa.Table
    moments: pa.Table
    contributions: Mapping[int, Float16[np.ndarray, "_ image _"]]
    mlp: Mapping[int, Float16[np.ndarray, "image d_joint"]]
    sums: Mapping[str, pa.Table] = field(default_factory=dict)


def contributions_path(layer: int) -> str:
    """Return the path of a layer's contributions within a shard."""
    return f"layer={layer}/{CONTRIBUTIONS}"


def mlp_path(layer: int) -> str:
    """Return the path of a layer's MLP contributions within a shard."""
    return f"layer={layer}/{MLP}"


def load_manifest(scan: ScanDir, shard: str) -> ShardManifest:
    """Read a shard's manifest.

    Raises:
        NewerFormat: a newer version of the program has written it.
        CorruptStore: the shard or its manifest is absent, or is no manifest.
    """
    return read_document(
        scan.shard(shard) / MANIFEST, ShardManifest, "a shard manifest", "expected a whole shard"
    )


def write_shard(
    scan: ScanDir,
    name: str,
    payload: ShardPayload,
    *,
    fingerprint: str,
    members_sha256: str,
    base_snapshot: int,
    device: str,
    timing: Timing,
) -> ShardManifest:
    """Write a shard, whole or not at all, and return its manifest.

    Seconds spent here are added to `timing.write` and `timing.wall`. When a shard of this name
    exists its manifest is returned and the payload is discarded: names are digests of members
    and configuration.

    Raises:
        StoreError: the payload's rows do not belong together, or a vector is not finite.
    """
    if (scan.shard(name) / MANIFEST).exists():
        return load_manifest(scan, name)
    started = time.perf_counter()
    tables = _checked(payload, name)
    aside = _new_folder(scan, name)
    try:
        _write_files(aside, payload, tables)
        spent = time.perf_counter() - started
        manifest = describe_shard(
            aside,
            shard=name,
            fingerprint=fingerprint,
            members_sha256=members_sha256,
            base_snapshot=base_snapshot,
            ids=tables[IMAGES]["image_id"].to_numpy(),
            rejects=payload.rejects.num_rows,
            layers=tuple(sorted(payload.contributions)),
            n_heads=_n_heads(payload),
            device=device,
            timing=timing.model_copy(
                update={"write": timing.write + spent, "wall": timing.wall + spent}
            ),
        )
        return install_shard(scan, aside, manifest)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _new_folder(scan: ScanDir, name: str) -> Path:
    aside = temporary_beside(scan.shard(name))
    aside.mkdir(parents=True)
    return aside


def describe_shard(
    folder: Path,
    *,
    shard: str,
    ids: Int64[np.ndarray, " image"],
    known: Mapping[str, FileRecord] | None = None,
    **fields: Any,
) -> ShardManifest:
    """Return the manifest of the files in `folder`, hashing those that `known` does not list."""
    known = known or {}
    files = {
        str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()
    }
    return ShardManifest(
        shard=shard,
        rows=len(ids),
        first_image_id=int(ids[0]) if len(ids) else 0,
        last_image_id=int(ids[-1]) if len(ids) else -1,
        files={
            name: known.get(name) or FileRecord(bytes=path.stat().st_size, sha256=sha256_file(path))
            for name, path in files.items()
        },
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        **fields,
    )


def install_shard(scan: ScanDir, aside: Path, manifest: ShardManifest) -> ShardManifest:
    """Write the manifest into the complete folder `aside` and rename it into place, once.

    Returns the manifest that is in place: an existing one when another writer was faster.
    """
    path = aside / MANIFEST
    path.write_text(manifest.to_json(), encoding="utf-8")
    fsync(path)
    target = scan.shard(manifest.shard)
    if target.is_dir() and not (target / MANIFEST).is_file():
        # what a deletion that was killed has left: the manifest goes first
        target.rename(temporary_beside(target))
    if install_folder(aside, target):
        return manifest
    return load_manifest(scan, manifest.shard)


def require_intact(scan: ScanDir, manifest: ShardManifest, only: Collection[str] = ()) -> None:
    """Check the bytes of a shard's files, or of some, before their rows go anywhere else.

    Raises:
        CorruptStore: a file is absent or differs from the manifest.
    """
    for name, file in manifest.files.items():
        path = scan.shard(manifest.shard) / name
        if only and name not in only:
            continue
        if not path.is_file() or sha256_file(path) != file.sha256:
            raise CorruptStore(
                f"{path} is not what was written; restore it, or scan anew with --restart; "
                "headatlas verify lists all such files"
            )


def _n_heads(payload: ShardPayload) -> int:
    return next((int(c.shape[0]) for c in payload.contributions.values()), 0)


def _checked(payload: ShardPayload, name: str) -> dict[str, pa.Table]:
    """Return the payload's tables under their exact schemas, or refuse them."""
    d_joint = payload.images.schema.field("embedding").type.list_size
    try:
        tables = {
            IMAGES: payload.images.cast(images_schema(d_joint)).combine_chunks(),
            REJECTS: payload.rejects.cast(rejects_schema()),
            MOMENTS: payload.moments.cast(moments_schema()),
        }
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise StoreError(f"shard {name}: rows do not fit the schema: {text}") from None
    ids = tables[IMAGES]["image_id"].to_numpy()
    if len(ids) and (ids[0] < 0 or (np.diff(ids) <= 0).any()):
        raise StoreError(f"shard {name}: expected image_id from 0, strictly ascending in images")
    keys = pa.chunked_array(
        tables[IMAGES]["key"].chunks + tables[REJECTS]["key"].chunks, type=pa.string()
    )
    if len(pc.unique(keys)) != len(keys):
        raise StoreError(f"shard {name}: a key occurs twice among its images and rejects")
    for layer, heads in payload.contributions.items():
        if heads.dtype != np.float16 or heads.shape[1] != len(ids):
            raise StoreError(
                f"shard {name}, layer {layer}: contributions are {heads.dtype} {heads.shape}, "
                f"expected float16 (heads, {len(ids)} images, width)"
            )
    for layer, rows in payload.mlp.items():
        if rows.dtype != np.float16 or rows.shape != (len(ids), d_joint):
            raise StoreError(
                f"shard {name}, layer {layer}: mlp is {rows.dtype} {rows.shape}, "
                f"expected float16 ({len(ids)} images, {d_joint})"
            )
    return tables


def _write_files(folder: Path, payload: ShardPayload, tables: Mapping[str, pa.Table]) -> None:
    pq.write_table(tables[IMAGES], folder / IMAGES, **IMAGES_OPTIONS)
    pq.write_table(tables[REJECTS], folder / REJECTS, **PARQUET)
    pq.write_table(tables[MOMENTS], folder / MOMENTS, **PARQUET)
    ids = tables[IMAGES]["image_id"].to_numpy()
    if not len(ids):
        return
    for what, sums in payload.sums.items():
        pq.write_table(sums.cast(sums_schema()), folder / SUMS[what], **PARQUET)
    for layer, heads in payload.contributions.items():
        (folder / f"layer={layer}").mkdir()
        write_contributions(folder / contributions_path(layer), layer, ids, heads)
    for layer, rows in payload.mlp.items():
        (folder / f"layer={layer}").mkdir(exist_ok=True)
        write_mlp(folder / mlp_path(layer), layer, ids, rows)


def write_contributions(
    path: Path,
    layer: int,
    ids: Int64[np.ndarray, " image"],
    heads: Float16[np.ndarray, "head image d_head"],
) -> None:
    """Write one layer of a shard: sorted by head and image, one row group per head.

    Raises:
        StoreError: a number is not finite.
    """
    schema = contributions_schema(heads.shape[2])
    image_id = pa.array(ids)
    with pq.ParquetWriter(path, schema, **_LONG) as writer:
        for head, rows in enumerate(heads):
            if not finite(rows):
                raise StoreError(
                    f"layer {layer}, head {head}: a contribution is not finite in float16; "
                    "try --precision fp32"
                )
            columns = [_same(layer, len(ids)), _same(head, len(ids)), image_id, vectors(rows)]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=len(ids))


def write_mlp(
    path: Path,
    layer: int,
    ids: Int64[np.ndarray, " image"],
    rows: Float16[np.ndarray, "image d_joint"],
) -> None:
    """Write one layer's MLP contributions of a shard.

    Raises:
        StoreError: a number is not finite.
    """
    if not finite(rows):
        raise StoreError(f"layer {layer}: an MLP contribution is not finite in float16")
    schema = mlp_schema(rows.shape[1])
    columns = [_same(layer, len(ids)), pa.array(ids), vectors(rows)]
    pq.write_table(
        pa.table(columns, schema=schema),
        path,
        **{**_LONG, "use_dictionary": ["layer"], "write_statistics": ["layer", "image_id"]},
    )


def _same(value: int, count: int) -> pa.Array:
    return pa.array(np.full(count, value, dtype=np.int16))


def vectors(rows: Float16[np.ndarray, "image width"]) -> pa.FixedSizeListArray:
    """Return `rows` as an Arrow column, without a copy when they are contiguous."""
    flat = pa.array(np.ascontiguousarray(rows).reshape(-1))
    kind = pa.list_(pa.field("element", pa.float16(), nullable=False), rows.shape[1])
    return pa.FixedSizeListArray.from_arrays(flat, type=kind)


def finite(rows: Float16[np.ndarray, "image width"]) -> bool:
    """Whether every float16 is finite: by its exponent's bits, numpy's own test is slow."""
    bits = np.ascontiguousarray(rows).view(np.uint16)
    return not bool(((bits & np.uint16(0x7C00)) == 0x7C00).any())
