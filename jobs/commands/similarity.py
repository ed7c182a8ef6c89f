"""Measure how alike any two heads of a scan write, by linear CKA over its pictures."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from pydantic import Field

from jobs import console
from jobs.steps.cross_heads import Chosen, cross_norms, own_spectra, places
from jobs.steps.opened import Opened, open_scan
from jobs.steps.stratified import stratified
from pipeline.heads.similarity import cka
from schemas.config import Config
from schemas.errors import UsageError
from schemas.kinds import Part
from schemas.names import head_name
from schemas.results import KINDS
from schemas.results.head_similarity import HEAD_SIMILARITY, head_similarity_schema
from schemas.text import how_many
from warehouse.files.layout import Warehouse
from warehouse.results.claims import Now
from warehouse.results.files import read_provenance, write_result
from warehouse.results.registry import result_path

PUBLISHES = True


class SimilarityConfig(Config):
    """Options of `headatlas similarity`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
    sample: int = Field(
        default=10_000, ge=2, description="Pictures, drawn at random; no more than there are."
    )
    seed: int = Field(default=0, ge=0, description="Of the sample.")


@dataclass(frozen=True)
class SimilarityResult:
    """What was measured.

    Attributes:
        images: pictures counted.
        heads: heads compared.
        most: the most alike pairs, each with its CKA.
        reused: whether the same was there already.
    """

    scan: str
    images: int
    heads: int
    most: tuple[tuple[str, str, float], ...]
    path: Path
    reused: bool
    seconds: float


def run(config: SimilarityConfig) -> SimilarityResult:
    """Compare each stored head with each other; nothing where the same is there already.

    Raises:
        UnknownName: no such scan.
        UsageError: it holds fewer than two pictures.
    """
    started = time.perf_counter()
    opened = open_scan(Warehouse(config.warehouse), config.scan)
    if opened.snapshot.images < 2:
        raise UsageError(
            f"scan {opened.name!r} holds {how_many(opened.snapshot.images, 'picture')}; heads "
            "are compared "
            "over two or more: scan some first"
        )
    now = Now.opened(opened)
    options = config.model_dump(mode="json", include={"sample", "seed"})
    claim = now.claim(KINDS[HEAD_SIMILARITY], {Part.OPTIONS: options})
    path = result_path(opened.scan, KINDS[HEAD_SIMILARITY], HEAD_SIMILARITY)
    reused = now.why_not(path, claim) is None
    if not reused:
        chosen = sample(opened, config.sample, config.seed)
        own = own_spectra(chosen)
        found = cka(cross_norms(chosen, chosen, same=True), own, own)
        table = _table(found, chosen.heads, len(chosen.row))
        most = _most(found, chosen.heads)
        said = {"images": len(chosen.row), "heads": len(chosen.heads), "most": most}
        write_result(path, table, now.provenance(claim, **said))
    there = read_provenance(path)
    return SimilarityResult(
        scan=opened.name,
        images=there["images"],
        heads=there["heads"],
        most=tuple((a, b, value) for a, b, value in there["most"]),
        path=path,
        reused=reused,
        seconds=time.perf_counter() - started,
    )


def sample(opened: Opened, count: int, seed: int) -> Chosen:
    """Return at most `count` of a scan's pictures, drawn by image_id, whatever their shards."""
    shard, row = places(opened)
    order = np.argsort(opened.image_ids, kind="stable")
    drawn = np.sort(order[stratified([None] * len(order), count, seed)])
    return Chosen(opened, shard[drawn], row[drawn])


def _table(found: Float[np.ndarray, "head head"], heads: list[tuple[int, int]], n: int) -> pa.Table:
    layers, numbers = (np.array([head[i] for head in heads], np.int16) for i in (0, 1))
    one, other = np.nonzero(~np.eye(len(heads), dtype=bool))
    values = found[one, other]
    columns: list[Any] = [layers[one], numbers[one], layers[other], numbers[other]]
    columns += [np.full(len(one), n, np.int64), pa.array(values, mask=np.isnan(values))]
    return pa.table([pa.array(c) for c in columns], schema=head_similarity_schema())


def _most(
    found: Float[np.ndarray, "head head"], heads: list[tuple[int, int]], count: int = 5
) -> list[tuple[str, str, float]]:
    """Return the pairs of heads that are most alike."""
    one, other = np.triu_indices(len(heads), 1)
    values = np.nan_to_num(found[one, other], nan=-1.0)
    best = np.argsort(-values, kind="stable")[:count]
    return [
        (head_name(*heads[one[i]]), head_name(*heads[other[i]]), float(values[i])) for i in best
    ]


def say(config: SimilarityConfig, done: SimilarityResult) -> None:
    """Print the most alike heads."""
    console.table("Heads most alike", ("head", "other", "cka"), done.most)
    ended = "there already" if done.reused else f"in {done.seconds:.1f} s"
    console.note(
        f"likeness of {how_many(done.heads, 'head')} of {done.scan} over "
        f"{how_many(done.images, 'picture')}, {ended}"
    )
