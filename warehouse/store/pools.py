"""Description pools on disk: pools/POOL/pool.parquet, and their embeddings by model beside it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from schemas.errors import UnknownName
from schemas.files import pool_schema, vector_of
from schemas.manifest import digest
from schemas.names import check_name
from schemas.written import POOL
from warehouse.files.layout import Warehouse
from warehouse.results.files import read_provenance, read_result, sha256_table, write_result

EMBEDDINGS = "embeddings-*.parquet"
"""Files beside a pool that keep its texts as a model embeds them."""


@dataclass(frozen=True)
class Pool:
    """A description pool.

    Attributes:
        name: its folder.
        texts: by description_id.
        properties: what each text is about; None where unknown.
        provenance: where it comes from.
    """

    name: str
    texts: tuple[str, ...]
    properties: tuple[str | None, ...]
    provenance: dict[str, Any]


def write_pool(
    warehouse: Warehouse,
    name: str,
    texts: Sequence[str],
    properties: Sequence[str | None],
    *,
    source: str,
    provenance: dict[str, Any],
) -> Path:
    """Write a pool, replacing one of the same name; its embeddings are made anew when needed."""
    folder = warehouse.pools / check_name(name, "pool")
    columns = [list(range(len(texts))), list(texts), list(properties), [source] * len(texts)]
    arrays = [pa.array(c, f.type) for c, f in zip(columns, pool_schema(), strict=True)]
    table = pa.Table.from_arrays(arrays, schema=pool_schema())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / POOL
    for stale in folder.glob(EMBEDDINGS):
        stale.unlink()
    write_result(path, table, provenance)
    return path


def read_pool(warehouse: Warehouse, name: str) -> Pool:
    """Read a pool.

    Raises:
        UnknownName: there is no such pool; the message lists those that exist.
    """
    path = warehouse.pools / name / POOL
    if not path.is_file():
        raise UnknownName.among("pool", name, pools(warehouse))
    table, provenance = read_result(path)
    return Pool(
        name, tuple(table["text"].to_pylist()), tuple(table["property"].to_pylist()), provenance
    )


def pool_digest(warehouse: Warehouse, name: str) -> str | None:
    """Return the digest of what a pool holds: texts, properties, vectors; None where it is gone.

    The vectors of a pool that was made of them are part of it; those of texts follow from these.
    """
    path = warehouse.pools / name / POOL
    if not path.is_file():
        return None
    pool = read_pool(warehouse, name)
    held: list[object] = [pool.texts, pool.properties]
    if "weights_sha256" in pool.provenance:
        held.append(pool.provenance["weights_sha256"])
        for file in sorted(path.parent.glob(EMBEDDINGS)):
            held.append([file.name, sha256_table(read_result(file)[0])])
    return digest(held)


def pools(warehouse: Warehouse) -> list[str]:
    """Return the names of all pools, sorted."""
    return sorted(p.parent.name for p in warehouse.pools.glob(f"*/{POOL}"))


@dataclass(frozen=True)
class EmbeddedBy:
    """What a pool's embeddings depend on beside its texts: the key of the file that keeps them.

    Attributes:
        weights_sha256: digest of the model's weights.
        precision: arithmetic of the model.
        templates: prompts, each with one `{}` for the text; (): the texts as they are.
    """

    weights_sha256: str
    precision: str
    templates: tuple[str, ...] = ()

    def file(self, warehouse: Warehouse, pool: str) -> Path:
        """Return where a pool's embeddings are, existing or not."""
        prompts = f"-{digest(self.templates)[:16]}" if self.templates else ""
        name = f"embeddings-{self.weights_sha256[:16]}-{self.precision}{prompts}.parquet"
        return warehouse.pools / pool / name


def read_embeddings(
    warehouse: Warehouse, name: str, by: EmbeddedBy
) -> Float[np.ndarray, "text d_joint"] | None:
    """Return the unit-norm embeddings of a pool's texts; None when not yet made."""
    path = by.file(warehouse, name)
    if not path.is_file():
        return None
    table, _ = read_result(path)
    column = table["embedding"].combine_chunks()
    flat: np.ndarray = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), -1)


def embedded(
    warehouse: Warehouse, name: str, weights_sha256: str, precision: str
) -> tuple[Path, EmbeddedBy] | None:
    """Return a file of a pool's embeddings by a model, and how they were made; None where none is.

    Of several, that of the texts as they are; else the first by its name.
    """
    plain = EmbeddedBy(weights_sha256, precision)
    pattern = f"embeddings-{weights_sha256[:16]}-{precision}*.parquet"
    for path in sorted((warehouse.pools / name).glob(pattern), key=lambda p: (len(p.name), p.name)):
        said = read_provenance(path)
        by = EmbeddedBy(said["weights_sha256"], said["precision"], tuple(said["templates"]))
        if (by.weights_sha256, by.precision) == (plain.weights_sha256, plain.precision):
            return path, by
    return None


def write_embeddings(
    warehouse: Warehouse,
    name: str,
    by: EmbeddedBy,
    embeddings: Float[np.ndarray, "text d_joint"],
) -> None:
    """Keep a pool's embeddings beside it, keyed by model and templates."""
    kind = vector_of(pa.float32(), embeddings.shape[1])
    flat = pa.array(np.ascontiguousarray(embeddings, dtype=np.float32).ravel())
    table = pa.table(
        {
            "description_id": pa.array(np.arange(len(embeddings))),
            "embedding": pa.FixedSizeListArray.from_arrays(flat, type=kind),
        }
    )
    write_result(by.file(warehouse, name), table, asdict(by))
