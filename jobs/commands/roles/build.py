"""Give every head of a basis a role, and say how sure it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from pydantic import Field

from jobs import console
from jobs.steps.asking import asker_of
from jobs.steps.attributes import store_attributes
from jobs.steps.manual_roles import role_row, with_manual
from jobs.steps.models import pool_embeddings
from jobs.steps.opened import Opened, open_scan
from jobs.steps.stability import sampled_covariances
from jobs.steps.subset_moments import subset_moments
from pipeline.heads.stability import pick_survival, role_survival
from pipeline.heads.textspan import textspan
from pipeline.roles.combining import Role, roles_from
from pipeline.roles.enrichment import enrichment, property_codes
from pipeline.roles.prompts import UNCLEAR, RoleReply, role_prompt
from pipeline.roles.rotation_null import turned
from pipeline.texts.server import Server
from schemas.addresses import Address
from schemas.config import Config
from schemas.errors import UnknownName, UsageError
from schemas.kinds import Part
from schemas.results import KINDS
from schemas.results.roles import ENRICHMENT, LANGUAGE_MODEL, ROLES, roles_schema
from schemas.results.stability import STABILITY, stability_schema
from schemas.results.textspan import TEXTSPAN
from schemas.text import how_many
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.results.claims import Claim, Now
from warehouse.results.files import read_result, write_result
from warehouse.results.registry import result_path
from warehouse.results.roles import read_manual
from warehouse.store.pools import Pool, read_pool

PUBLISHES = True


class RolesConfig(Config):
    """Options of `headatlas roles build`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    basis: str | None = Field(default=None, description="TextSpan basis; default, the only one.")
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
    level: float = Field(default=0.05, gt=0, lt=1, description="False discovery rate of roles.")
    permutations: int = Field(default=10_000, ge=100, description="Of the texts' properties.")
    turns: int = Field(
        default=128,
        ge=0,
        description="Random rotations of each head at most; 0: labels alone are tested.",
    )
    attributes: bool = Field(
        default=True, description="Also what labels and metadata explain of each head."
    )
    bootstrap: int = Field(
        default=0, ge=0, description="Samples of the pictures that say how stable roles are."
    )
    llm: str | None = Field(
        default=None, description="Also ask this language model for each head's role."
    )
    texts: int = Field(default=20, ge=1, description="Texts of a head that it is shown.")
    base_url: Address = Field(
        default=None, description="Server that speaks chat completions, ending in /v1."
    )
    key_variable: str = Field(
        default="OPENAI_API_KEY", description="Environment variable that holds the key."
    )
    concurrency: int = Field(default=8, ge=1, le=256, description="Questions in flight.")
    model: str | None = Field(default=None, description="Model, when its files have moved.")
    pretrained: str | None = Field(default=None, description="Weights, when they have moved.")


@dataclass(frozen=True)
class RolesResult:
    """Stored roles.

    Attributes:
        heads: tested.
        clear: of these, with a clear role by enrichment.
        manual: with a role set by hand.
        agreement: of the heads that enrichment and language model both name, the share on which
            they agree; None where there is none.
        attributes: columns of the pictures that were measured.
    """

    basis: str
    scan: str
    snapshot: int
    heads: int
    clear: int
    manual: int
    agreement: float | None
    attributes: tuple[str, ...]
    path: Path


@dataclass(frozen=True)
class _Stored:
    """A basis read back, with all that the tests of its heads need."""

    name: str
    heads: list[tuple[int, int]]
    picks: Int[np.ndarray, "head rank"]
    explained: Float[np.ndarray, "head rank"]
    pool: Pool
    provenance: dict[str, Any]


def run(config: RolesConfig) -> RolesResult:
    """Find the roles of all heads of a basis and store them beside it.

    Raises:
        UnknownName: no such scan or basis.
        UsageError: the pool has changed since the basis was made.
        LanguageModelError: the server fails; its answers so far are kept.
    """
    warehouse = Warehouse(config.warehouse)
    opened = open_scan(warehouse, config.scan)
    scan, snapshot = opened.scan, opened.snapshot
    now = Now.opened(opened)
    basis = _read_basis(warehouse, now, config.basis)
    console.note(f"testing the texts of basis {basis.name} against chance")
    found = _test(config, opened, basis)
    stability = _bootstrap(config, opened, basis, found)
    said = _ask(config, basis)
    rows = [_row(*row) for row in zip(basis.heads, found, stability, strict=True)]
    answers = zip(basis.heads, said, strict=False)
    rows += [_said_row(head, reply) for head, reply in answers if reply is not None]
    manual = read_manual(now)
    path = roles_path(scan, basis.name)
    agreement = _agreement(found, said)
    said_of_it = {
        "basis": basis.name,
        "snapshot": basis.provenance.get("snapshot", snapshot.number),
        "options": config.model_dump(mode="json", exclude={"warehouse", "key_variable"}),
        "agreement": agreement,
    }
    provenance = now.provenance(roles_claim(now, config, basis.name), **said_of_it)
    table = with_manual(pa.Table.from_pylist(rows, schema=roles_schema()), manual)
    write_result(path, table, provenance)
    measured = store_attributes(opened) if config.attributes else ()
    clear = sum(role.role is not None for role in found)
    return RolesResult(
        basis.name,
        scan.name,
        snapshot.number,
        len(found),
        clear,
        len(manual),
        agreement,
        measured,
        path,
    )


def say(config: RolesConfig, done: RolesResult) -> None:
    """Say how many heads have a clear role."""
    agree = "" if done.agreement is None else f"; the language model agrees on {done.agreement:.0%}"
    console.note(
        f"roles of basis {done.basis} of {done.scan}: {done.clear} of {done.heads} heads have a "
        f"clear role, {done.manual} are set by hand{agree}"
    )
    if done.attributes:
        console.note(f"attributes measured: {', '.join(done.attributes)}")


def roles_path(scan: ScanDir, basis: str) -> Path:
    """Return the file of a basis' roles, existing or not."""
    return result_path(scan, KINDS[ROLES], basis)


def stability_path(scan: ScanDir, basis: str) -> Path:
    """Return the file of how stable a basis' picks are, existing or not."""
    return result_path(scan, KINDS[STABILITY], basis)


def roles_claim(now: Now, config: RolesConfig, basis: str) -> Claim:
    """Return what roles would stand on if they were found now."""
    names = {"level", "permutations", "turns", "bootstrap"}
    if config.llm is not None:
        names |= {"llm", "texts"}
    options = config.model_dump(mode="json", include=names)
    return now.claim(KINDS[ROLES], {Part.BASIS: basis, Part.OPTIONS: options})


def stability_claim(now: Now, config: RolesConfig, basis: str) -> Claim:
    """Return what the stability of picks would stand on if it were measured now."""
    options = {"samples": config.bootstrap}
    return now.claim(KINDS[STABILITY], {Part.BASIS: basis, Part.OPTIONS: options})


def run_attributes(config: RolesConfig) -> tuple[str, ...]:
    """Measure only what the pictures' columns explain of each head; return those columns."""
    return store_attributes(open_scan(Warehouse(config.warehouse), config.scan))


def _read_basis(warehouse: Warehouse, now: Now, name: str | None) -> _Stored:
    scan = now.scan
    if scan is None:
        raise ValueError("roles belong to a scan")
    known = {path.stem: path for path in sorted(scan.textspan.glob("*.parquet"))}
    if name is None and len(known) == 1:
        (name,) = known
    if name is None or name not in known:
        raise UnknownName.among(f"TextSpan basis of scan {scan.name!r}", name or "", known)
    now.require_usable(KINDS[TEXTSPAN], known[name])
    table, provenance = read_result(known[name])
    pool = read_pool(warehouse, str(provenance["pool"]))
    columns = ("layer", "head", "rank", "description_id", "text", "explained")
    layer, head, rank, pick, text, explained = (table[c].to_pylist() for c in columns)
    for number, said in zip(pick, text, strict=True):
        if number >= len(pool.texts) or pool.texts[number] != said:
            raise UsageError(
                f"pool {pool.name!r} has changed since basis {name!r} was made (description "
                f"{number} was {said!r}); run headatlas textspan again"
            )
    heads = sorted(set(zip(layer, head, strict=True)))
    index = {key: i for i, key in enumerate(heads)}
    width = max(rank, default=-1) + 1
    picks = np.full((len(heads), width), -1)
    shares = np.zeros((len(heads), width))
    for row, r in enumerate(rank):
        at = index[layer[row], head[row]]
        picks[at, r], shares[at, r] = pick[row], explained[row]
    return _Stored(name, heads, picks, shares, pool, provenance)


def _texts(
    config: RolesConfig, opened: Opened, basis: _Stored
) -> Float[np.ndarray, "text d_joint"]:
    """Return the embeddings that the basis was made with."""
    templates = basis.provenance.get("templates", ())
    return pool_embeddings(
        opened.warehouse, basis.pool, opened.record, config.model, config.pretrained, templates
    )


def _test(config: RolesConfig, opened: Opened, basis: _Stored) -> list[Role]:
    labels = basis.pool.properties
    found = enrichment(basis.picks, basis.explained, labels, permutations=config.permutations)
    if not config.turns or not found.properties:
        return roles_from(found, None, level=config.level)
    where = basis.provenance.get("where")
    moments = subset_moments(opened, where) if where else opened.moments
    second = turned(
        [moments["head", *head].covariance for head in basis.heads],
        [opened.frame(*head) for head in basis.heads],
        _texts(config, opened, basis),
        basis.picks,
        basis.explained,
        property_codes(labels)[1],
        draws=config.turns,
        renormalise=bool(basis.provenance.get("renormalise")),
    )
    return roles_from(found, second, level=config.level)


def _bootstrap(
    config: RolesConfig, opened: Opened, basis: _Stored, found: Sequence[Role]
) -> list[float | None]:
    """Repeat TextSpan on bootstrap samples; write how the picks survive, return it for roles."""
    if not config.bootstrap:
        return [None] * len(found)
    if basis.provenance.get("where"):
        raise UsageError(
            f"basis {basis.name!r} is of some pictures only; --bootstrap needs one of all"
        )
    now = Now.opened(opened)
    texts = _texts(config, opened, basis)
    frames_q = [opened.frame(*head) for head in basis.heads]
    steps, again = basis.picks.shape[1], []
    tops: list[list[str | None]] = []
    names, codes = property_codes(basis.pool.properties)
    renormalise = bool(basis.provenance.get("renormalise"))
    for covariance in sampled_covariances(opened, config.bootstrap):
        sample = textspan(covariance, frames_q, texts, steps, renormalise=renormalise)
        again.append(_padded(sample.picks, steps))
        hits = codes[sample.picks][:, :, None] == np.arange(len(names))
        share = np.einsum("hr,hrp->hp", sample.explained, hits & (sample.picks >= 0)[:, :, None])
        tops.append([names[i] if names else None for i in share.argmax(axis=1)])
    survival = pick_survival(basis.picks, again)
    rows = [
        {"layer": layer, "head": head, "rank": r, "description_id": int(pick), "survival": share}
        for (layer, head), picks, shares in zip(basis.heads, basis.picks, survival, strict=True)
        for r, (pick, share) in enumerate(zip(picks, shares, strict=True))
        if pick >= 0
    ]
    write_result(
        stability_path(opened.scan, basis.name),
        pa.Table.from_pylist(rows, schema=stability_schema()),
        now.provenance(stability_claim(now, config, basis.name), basis=basis.name),
    )
    return role_survival([role.role for role in found], tops)


def _padded(picks: Int[np.ndarray, "head rank"], width: int) -> Int[np.ndarray, "head width"]:
    return np.pad(picks, ((0, 0), (0, width - picks.shape[1])), constant_values=-1)


def _ask(config: RolesConfig, basis: _Stored) -> list[RoleReply | None]:
    """Ask the language model for each head's role; nothing where no model is named."""
    if config.llm is None:
        return []
    known = sorted({name for name in basis.pool.properties if name})
    prompts = []
    for picks, shares in zip(basis.picks, basis.explained, strict=True):
        shown = [i for i, pick in enumerate(picks) if pick >= 0][: config.texts]
        texts = [basis.pool.texts[picks[i]] for i in shown]
        prompts.append(role_prompt(texts, [float(shares[i]) for i in shown], known))
    server = Server(
        config.llm, config.base_url, config.key_variable, concurrency=config.concurrency
    )
    asker = asker_of(config.warehouse, server)
    with console.progress("Asking for roles", len(prompts), "heads") as advance:
        said = asker.ask(prompts, advance)
    if asker.counts.unanswered:
        console.warn(
            f"{config.llm} gave no usable role for {how_many(asker.counts.unanswered, 'head')}: "
            f"{asker.counts.thrown_away}"
        )
    return said


def _named(reply: RoleReply) -> str | None:
    name = " ".join(reply.role.split()).lower().replace(" ", "_")
    return None if name == UNCLEAR else name


def _agreement(found: Sequence[Role], said: Sequence[RoleReply | None]) -> float | None:
    pairs = [
        (role.role, _named(reply))
        for role, reply in zip(found, said, strict=False)
        if reply is not None and role.role is not None and _named(reply) is not None
    ]
    return sum(_same(a, b) for a, b in pairs) / len(pairs) if pairs else None


def _same(a: str | None, b: str | None) -> bool:
    return a is not None and b is not None and a.replace(" ", "_").lower() == b


def _row(head: tuple[int, int], role: Role, stability: float | None) -> dict[str, Any]:
    return role_row(
        *head,
        ENRICHMENT,
        role=role.role,
        score=role.score,
        p_value=role.p_value,
        q_value=role.q_value,
        p_labels=role.p_labels,
        p_turned=role.p_turned,
        stability=stability,
        note=role.note,
    )


def _said_row(head: tuple[int, int], reply: RoleReply) -> dict[str, Any]:
    why = " ".join(reply.why.split())
    return role_row(*head, LANGUAGE_MODEL, role=_named(reply), score=reply.confidence, note=why)
