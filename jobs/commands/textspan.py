"""Find, for every stored head, the texts of a pool that span its contributions."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from jobs import console
from jobs.steps.models import pool_embeddings
from jobs.steps.opened import open_scan
from jobs.steps.span_table import span_table
from jobs.steps.subset_moments import subset_moments
from jobs.steps.templates import templates_of
from pipeline.heads.textspan import textspan
from schemas.config import Config
from schemas.kinds import Part
from schemas.names import check_name, safe_name
from schemas.results import KINDS
from schemas.results.textspan import TEXTSPAN, textspan_schema
from schemas.text import how_many
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.results.claims import Claim, Now
from warehouse.results.files import write_result
from warehouse.store.pools import read_pool

PUBLISHES = True

Criterion = Literal["paper", "somp"]
PAPER: Final = "paper"
SOMP: Final = "somp"


class TextSpanConfig(Config):
    """Options of `headatlas textspan`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    pool: str = Field(description="Description pool.")
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
    m: int = Field(default=60, ge=1, description="Texts per head.")
    where: str | None = Field(
        default=None, description="Only pictures for which this SQL condition over images holds."
    )
    template: tuple[str, ...] = Field(
        default=(),
        description="Prompt of a text, as `a photo of {}`, openai, or a file with one per line; "
        "may be given again: their embeddings are averaged. Default, texts as they are.",
    )
    basis: str | None = Field(default=None, description="Name of the result; default, the pool's.")
    model: str | None = Field(default=None, description="Model, when its files have moved.")
    pretrained: str | None = Field(default=None, description="Weights, when they have moved.")
    criterion: Criterion = Field(
        default=PAPER,
        description="How a text is chosen: `paper`, by the variance along its projection, which "
        "favours texts that lie in the head's span; `somp`, the projections made unit-norm first.",
    )


@dataclass(frozen=True)
class TextSpanResult:
    """A stored basis."""

    basis: str
    scan: str
    snapshot: int
    heads: int
    images: int
    path: Path
    seconds: float


def run(config: TextSpanConfig) -> TextSpanResult:
    """Find each head's texts and store them as a basis of the scan.

    Raises:
        UnknownName: no such scan or pool.
        UsageError: no picture satisfies --where, or a template has no `{}`.
    """
    warehouse = Warehouse(config.warehouse)
    pool = read_pool(warehouse, config.pool)
    templates = templates_of(config.template)
    opened = open_scan(warehouse, config.scan)
    scan, record, snapshot = opened.scan, opened.record, opened.snapshot
    texts = pool_embeddings(warehouse, pool, record, config.model, config.pretrained, templates)
    started = time.perf_counter()
    moments = opened.moments if config.where is None else subset_moments(opened, config.where)
    heads = opened.framed
    basis = textspan(
        [moments["head", *head].covariance for head in heads],
        [opened.frame(*head) for head in heads],
        texts,
        config.m,
        renormalise=config.criterion == SOMP,
    )
    path = basis_path(scan, config)
    name = path.stem
    images = moments["head", *heads[0]].n
    table = span_table(basis, heads, pool, textspan_schema())
    said = {
        "basis": name,
        "pool": config.pool,
        "templates": templates,
        "m": config.m,
        "where": config.where,
        "renormalise": config.criterion == SOMP,
        "images": images,
    }
    now = Now.opened(opened)
    write_result(path, table, now.provenance(basis_claim(now, config), **said))
    seconds = time.perf_counter() - started
    return TextSpanResult(name, scan.name, snapshot.number, len(basis.picks), images, path, seconds)


def say(config: TextSpanConfig, done: TextSpanResult) -> None:
    """Say which basis was made, over what."""
    console.note(
        f"basis {done.basis} of {done.scan}: {how_many(done.heads, 'head')} over "
        f"{how_many(done.images, 'picture')} in "
        f"{done.seconds:.1f} s"
    )


def basis_path(scan: ScanDir, config: TextSpanConfig) -> Path:
    """Return the file of the basis asked for; its default name is the pool's, with `where`."""
    default = config.pool
    if config.where is not None:
        default = f"{config.pool}-{safe_name(config.where)[:60]}"
    return scan.textspan / f"{check_name(config.basis or default, 'basis')}.parquet"


def basis_claim(now: Now, config: TextSpanConfig) -> Claim:
    """Return what the basis asked for would stand on if it were made now.

    Raises:
        UsageError: a template cannot be used.
    """
    options = {
        "m": config.m,
        "templates": list(templates_of(config.template)),
        "where": config.where,
        "renormalise": config.criterion == SOMP,
    }
    given: dict[Part, Any] = {Part.POOL: config.pool, Part.OPTIONS: options}
    if config.where is not None:
        given[Part.LABELS] = True
    return now.claim(KINDS[TEXTSPAN], given)
