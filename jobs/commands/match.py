"""Find for every head of a scan the most alike head of another, over the keys that both have."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from jobs import console
from jobs.steps.cross_heads import Chosen, cross_norms, own_spectra, places
from jobs.steps.opened import Opened, open_scan
from jobs.steps.stratified import stratified
from pipeline.heads.matching import matches
from pipeline.heads.similarity import Spectra, chance, cka, p_values
from schemas.config import Config
from schemas.errors import UsageError
from schemas.kinds import Part
from schemas.names import head_name
from schemas.results import KINDS
from schemas.results.head_matches import HEAD_MATCHES, head_matches_schema
from schemas.text import how_many
from warehouse.files.layout import Warehouse
from warehouse.results.claims import Claim, Now
from warehouse.results.files import read_result, write_result
from warehouse.results.registry import result_path

ARGUMENTS = ("scan_a", "scan_b")
PUBLISHES = True


class MatchConfig(Config):
    """Options of `headatlas match`."""

    scan_a: str = Field(description="One scan.")
    scan_b: str = Field(description="Another, of pictures with the same keys.")
    warehouse: Path = Field(description="Folder of the warehouse.")
    sample: int = Field(
        default=10_000,
        ge=2,
        description="Shared pictures, drawn at random; no more than there are.",
    )
    seed: int = Field(default=0, ge=0, description="Of the sample.")


@dataclass(frozen=True)
class Match:
    """One head of scan A and its most alike of scan B."""

    head: str
    other: str
    cka: float
    chance: float
    q_value: float
    mutual: bool


@dataclass(frozen=True)
class MatchResult:
    """What was matched.

    Attributes:
        images: pictures compared over.
        matches: of scan A's heads, the most alike first.
        paths: the results: of scan A, and the other way round of scan B.
        reused: whether the same was there already.
    """

    scan: str
    other: str
    images: int
    matches: tuple[Match, ...]
    paths: tuple[Path, Path]
    reused: bool
    seconds: float


def run(config: MatchConfig) -> MatchResult:
    """Match the heads of two scans, both ways round; nothing where the same is there already.

    Raises:
        UnknownName: no such scan.
        UsageError: the two are one scan, or share fewer than two keys.
    """
    started = time.perf_counter()
    if config.scan_a == config.scan_b:
        raise UsageError(
            f"scan {config.scan_a!r} twice; expected two scans: heads of one are compared by "
            "headatlas similarity, its snapshots by headatlas drift"
        )
    warehouse = Warehouse(config.warehouse)
    a, b = open_scan(warehouse, config.scan_a), open_scan(warehouse, config.scan_b)
    claims = [_claim(x, y.name, config) for x, y in ((a, b), (b, a))]
    paths = (_path(a, b.name), _path(b, a.name))
    asked = zip((a, b), paths, claims, strict=True)
    reused = all(Now.opened(x).why_not(path, claim) is None for x, path, claim in asked)
    if not reused:
        _make(a, b, config, paths, claims)
    table, _ = read_result(paths[0])
    rows = sorted(table.to_pylist(), key=lambda row: -row["cka"])
    return MatchResult(
        scan=a.name,
        other=b.name,
        images=rows[0]["n"] if rows else 0,
        matches=tuple(
            Match(*(r[c] for c in ("name", "other_name", "cka", "chance", "q_value", "mutual")))
            for r in rows
        ),
        paths=paths,
        reused=reused,
        seconds=time.perf_counter() - started,
    )


def _make(
    a: Opened, b: Opened, config: MatchConfig, paths: tuple[Path, Path], claims: list[Claim]
) -> None:
    one, other = shared(a, b, config.sample, config.seed)
    spectra_a, spectra_b = own_spectra(one), own_spectra(other)
    norms = cross_norms(one, other, same=False)
    n = len(one.row)
    tables = (
        _table(norms, spectra_a, spectra_b, one, other, n),
        _table(norms.T, spectra_b, spectra_a, other, one, n),
    )
    for opened, path, table, claim in zip((a, b), paths, tables, claims, strict=True):
        write_result(path, table, Now.opened(opened).provenance(claim, images=n))


def _path(opened: Opened, other: str) -> Path:
    return result_path(opened.scan, KINDS[HEAD_MATCHES], other)


def _claim(opened: Opened, other: str, config: MatchConfig) -> Claim:
    options = config.model_dump(mode="json", include={"sample", "seed"})
    given = {Part.MODEL: other, Part.OTHER: other, Part.OPTIONS: options}
    return Now.opened(opened).claim(KINDS[HEAD_MATCHES], given)


def shared(a: Opened, b: Opened, count: int, seed: int) -> tuple[Chosen, Chosen]:
    """Return at most `count` pictures whose keys both scans have, drawn by key, in one order.

    Raises:
        UsageError: there are fewer than two.
    """
    keys = [opened.images(["key"])["key"].to_pylist() for opened in (a, b)]
    at = {key: i for i, key in enumerate(keys[1])}
    found = sorted((key, i) for i, key in enumerate(keys[0]) if key in at)
    if len(found) < 2:
        shown = [repr(own[0]) if own else "none" for own in keys]
        raise UsageError(
            f"scans {a.name!r} and {b.name!r} share {len(found)} keys (as {shown[0]} and "
            f"{shown[1]}); heads are matched over two or more pictures that both have seen: scan "
            "the same source, with the same --root"
        )
    drawn = [found[i] for i in stratified([None] * len(found), count, seed)]
    # in the order of A's shards, each of which is then read once
    order = np.array(sorted(i for _, i in drawn))
    other = np.array([at[keys[0][i]] for i in order])
    sides = (Chosen(x, *(c[i] for c in places(x))) for x, i in ((a, order), (b, other)))
    one, two = sides
    return one, two


def _table(
    norms: np.ndarray, own: Spectra, others: Spectra, one: Chosen, other: Chosen, n: int
) -> pa.Table:
    """Return the rows of one scan's heads."""
    values, by_chance = cka(norms, own, others), chance(own, others, n)
    found = matches(values, p_values(norms, own, others, n))
    heads, partners = one.heads, other.heads
    rows: list[dict[str, Any]] = []
    for i, (head, best) in enumerate(zip(found.head, found.best, strict=True)):
        assigned = int(found.assigned[i])
        rows.append(
            {
                "layer": heads[head][0],
                "head": heads[head][1],
                "name": head_name(*heads[head]),
                "other_layer": partners[best][0],
                "other_head": partners[best][1],
                "other_name": head_name(*partners[best]),
                "cka": float(values[head, best]),
                "chance": float(by_chance[head, best]),
                "p_value": float(found.p_value[i]),
                "q_value": float(found.q_value[i]),
                "mutual": bool(found.mutual[i]),
                "assigned": head_name(*partners[assigned]) if assigned >= 0 else None,
                "assigned_cka": float(values[head, assigned]) if assigned >= 0 else None,
                "n": n,
            }
        )
    return pa.Table.from_pylist(rows, schema=head_matches_schema())


def say(config: MatchConfig, done: MatchResult) -> None:
    """Print the best matches."""
    columns = ("head", f"of {done.other}", "cka", "by chance", "q", "mutual")
    rows = [(m.head, m.other, m.cka, m.chance, m.q_value, m.mutual) for m in done.matches[:20]]
    console.table(f"Heads of {done.scan}", columns, rows)
    ended = "there already" if done.reused else f"in {done.seconds:.1f} s"
    mutual = sum(m.mutual for m in done.matches)
    console.note(
        f"{how_many(len(done.matches), 'head')} of {done.scan} matched with {done.other} over "
        f"{how_many(done.images, 'picture')}, {mutual} of them mutually, {ended}"
    )
