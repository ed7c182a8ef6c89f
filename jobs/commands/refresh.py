"""Scan, textspan and publish as a YAML file says, each only where needed; tidy up, and tell."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from jobs import console
from jobs.commands import drift, publish, scan, textspan, zeroshot
from jobs.commands.drift import DriftConfig, HeadDrift
from jobs.commands.pool import import_
from jobs.commands.pool.import_ import PoolImportConfig
from jobs.commands.publish import PublishConfig
from jobs.commands.roles import build as roles
from jobs.commands.roles.build import RolesConfig
from jobs.commands.scan import ScanConfig
from jobs.commands.textspan import TextSpanConfig
from jobs.commands.zeroshot import ZeroShotConfig
from jobs.recording import Recording, current
from jobs.steps.attributes import attributes_path
from jobs.steps.drifting import earlier
from jobs.steps.housekeeping import Housekeeping, Keep, compact_if_due, tidy
from jobs.steps.night_summary import Standing, standing, summary
from jobs.steps.on_finish import tell
from jobs.steps.plan_checks import check_plan
from schemas.config import Config, load_yaml
from schemas.errors import TooManyRejects, UsageError
from schemas.results import KINDS
from schemas.results.attributes import ATTRIBUTES
from schemas.results.classifiers import CLASSIFIERS
from schemas.results.head_drift import HEAD_DRIFT
from schemas.text import how_many
from warehouse.database.publish import Published
from warehouse.files.layout import Warehouse
from warehouse.results.claims import Now
from warehouse.results.classifiers import classifier_path
from warehouse.results.files import read_provenance
from warehouse.store import snapshots
from warehouse.store.pools import pools

ARGUMENTS = ("plan",)
WRITES = True
BEGINS = True


class RefreshConfig(Config):
    """Options of `headatlas refresh`."""

    plan: Path = Field(
        description="YAML file: warehouse, scan, textspan, roles, zeroshot, publish, keep, "
        "compact, drift, summary, on_finish."
    )


class Night(Config):
    """The YAML file of a refresh; each part takes the options of its command."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    scan: dict[str, Any] = Field(description="Options of scan.")
    textspan: list[dict[str, Any]] = Field(default=[], description="Options of textspan, a list.")
    roles: list[dict[str, Any]] = Field(default=[], description="Options of roles build, a list.")
    zeroshot: list[dict[str, Any]] = Field(default=[], description="Options of zeroshot, a list.")
    publish: dict[str, Any] = Field(default={}, description="Options of publish.")
    keep: Keep | None = Field(
        default=Keep(),
        description="versions, snapshots, runs: how many a night leaves; null deletes nothing.",
    )
    compact: float | None = Field(
        default=0.25,
        ge=0,
        le=1,
        description="Share of shards that may be small; above it, small ones are merged. "
        "null: never.",
    )
    drift: float | None = Field(
        default=0.1,
        ge=0,
        description="Heads that have moved more than this since the night before are told, as "
        "table head_drift measures it. null: drift is not measured.",
    )
    summary: Path | None = Field(
        default=None, description="File that the night's summary is written to, as JSON."
    )
    on_finish: str | tuple[str, ...] | None = Field(
        default=None,
        description="Command, as a list of words, that gets the summary on its standard input; or "
        "an http(s) URL that it is posted to. Also when the night has failed.",
    )

    @field_validator("on_finish")
    @classmethod
    def _command_or_url(cls, value: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        if isinstance(value, str) and not value.startswith(("http://", "https://")):
            raise ValueError("expected an http(s) URL, or a command as a list of words")
        return value


def warehouse_of(config: RefreshConfig) -> Path | None:
    """Return the folder that the plan names; None where it cannot be read, which `run` says."""
    try:
        named = load_yaml(config.plan).get("warehouse")
    except UsageError:
        return None
    return Path(named).expanduser() if isinstance(named, str) and named else None


@dataclass(frozen=True)
class RefreshResult:
    """What a refresh did.

    Attributes:
        scan: the scan's own result.
        made: results made anew, as `textspan/general`.
        published: the new version; None when nothing had changed.
        why: of each that was made, the reason.
        housekeeping: what was merged and deleted.
        drifted: heads that the night has moved by more than the plan's `drift`, most first.
    """

    scan: scan.ScanResult
    made: tuple[str, ...]
    published: Published | None
    why: dict[str, str] = field(default_factory=dict)
    housekeeping: Housekeeping = field(default_factory=Housekeeping)
    drifted: tuple[HeadDrift, ...] = ()


def run(config: RefreshConfig) -> RefreshResult:
    """Scan; make anew the bases, roles and classifiers that are stale; publish if need be; tidy up.

    However it ends, the plan's `summary` and `on_finish` are told.

    Raises:
        UsageError: the plan is no such file, holds a wrong option, or names what is not there.
        TooManyRejects: after everything else is done.
    """
    console.note(f"going by {config.plan}")
    document = load_yaml(config.plan)
    recording = current() or Recording("refresh", "")
    recording.configured(document)
    root = warehouse_of(config)
    before = standing(root) if root is not None else Standing()
    done: RefreshResult | None = None
    try:
        done = _night(Night.checked(document))
        recording.took(done)
    except BaseException as error:
        recording.failed(error)
        late = error.done if isinstance(error, TooManyRejects) else None
        done = late if isinstance(late, RefreshResult) else None
        raise
    finally:
        told = summary(root, recording.as_ended(), before, done)
        tell(told, *_asked_to_tell(document))
    return done


def _asked_to_tell(document: dict[str, Any]) -> tuple[Path | None, str | tuple[str, ...] | None]:
    """Return where a summary goes; also of a plan that is wrong elsewhere."""
    wanted: dict[str, Any] = {"warehouse": Path(), "scan": {}}
    wanted |= {name: document[name] for name in ("summary", "on_finish") if name in document}
    try:
        told = Night.checked(wanted)
    except UsageError:
        return None, None
    return told.summary, told.on_finish


def _night(night: Night) -> RefreshResult:
    warehouse = Warehouse(night.warehouse)

    def options(given: dict[str, Any], **fixed: str) -> dict[str, Any]:
        named = {name.replace("-", "_"): value for name, value in given.items()}
        return {"warehouse": night.warehouse, **fixed, **named}

    # every option is checked before any work is done
    asked = ScanConfig.checked(options(night.scan))
    spans = [TextSpanConfig.checked(options(given)) for given in night.textspan]
    tests = [RolesConfig.checked(options(given)) for given in night.roles]
    classes = [ZeroShotConfig.checked(options(given)) for given in night.zeroshot]
    kept = {"keep": night.keep.versions} if night.keep and night.keep.versions else {}
    shown = PublishConfig.checked(options({**kept, **night.publish}))

    started = time.perf_counter()
    listing = check_plan(warehouse, asked, spans, tests, classes)

    done = scan.run_listed(asked.model_copy(update={"max_rejects": None}), listing, started)
    merged = compact_if_due(warehouse, done.scan, asked.shard_size, night.compact)
    here, made = {"scan": done.scan}, _Made({})
    drifted = _drift(warehouse, made, done.scan, night.drift)
    for span in spans:
        _span(warehouse, made, span.model_copy(update=here))
    for test in tests:
        _roles(warehouse, made, test.model_copy(update=here))
    for one in classes:
        _classifier(warehouse, made, one.model_copy(update=here))
    published = None
    newest = snapshots.latest(warehouse.scan(done.scan))
    if made.why or newest is None or _shown(warehouse).get(done.scan) != newest.number:
        published = publish.run(shown)
    tidied = tidy(warehouse, done.scan, night.keep, merged)
    result = RefreshResult(done, tuple(made.why), published, made.why, tidied, drifted)
    try:
        scan.check_rejects(asked, done)
    except TooManyRejects as late:
        late.done = result  # so that what was made and published is said
        raise
    return result


def say(config: RefreshConfig, done: RefreshResult) -> None:
    """Say what was made anew, and which version shows it."""
    console.note(
        f"{done.scan.scan}: {how_many(done.scan.scanned, 'picture')} scanned, made anew: "
        f"{', '.join(done.made) or 'nothing'}, "
        + (f"published version {done.published.version}" if done.published else "nothing new")
    )


@dataclass(frozen=True)
class _Made:
    """What was made anew, and why."""

    why: dict[str, str]

    def step(self, name: str, why: str | None, make: Callable[[], object]) -> None:
        """Make a result where there is a reason, which is said; nothing made is not counted."""
        if why is None:
            return
        console.note(f"{name} is made anew: {why}")
        if make() is not None:
            self.why[name] = why


def _drift(
    warehouse: Warehouse, made: _Made, name: str, least: float | None
) -> tuple[HeadDrift, ...]:
    """Measure how far the night has moved each head; return those above `least`.

    Nothing where no earlier snapshot is kept, or the pictures are those of the night before.
    """
    scan = warehouse.scan(name)
    newest = snapshots.latest(scan)
    if least is None or newest is None or not newest.images or earlier(scan, newest) is None:
        return ()
    done = drift.run(DriftConfig(warehouse=warehouse.root, scan=name))
    made.step(f"{HEAD_DRIFT}/{HEAD_DRIFT}", done.why, lambda: done)
    moved = done.heads if done.why is not None else ()
    return tuple(head for head in moved if head.drift is not None and head.drift > least)


def _shown(warehouse: Warehouse) -> dict[str, int]:
    """Return the snapshots that the published database shows, by scan; none before the first."""
    if not warehouse.database.exists():
        return {}
    sidecar = warehouse.database.resolve().with_suffix(".json")
    scans: dict[str, int] = json.loads(sidecar.read_text(encoding="utf-8"))["scans"]
    return scans


def _span(warehouse: Warehouse, made: _Made, asked: TextSpanConfig) -> None:
    """Make a basis where it is not current; a pool that ships is imported if it is not there."""
    if asked.pool not in pools(warehouse):
        import_.run(
            PoolImportConfig(file=Path(asked.pool), warehouse=warehouse.root, name=asked.pool)
        )
    now = Now.of(warehouse.scan(str(asked.scan)))
    path = textspan.basis_path(warehouse.scan(str(asked.scan)), asked)
    why = now.why_not(path, textspan.basis_claim(now, asked))
    made.step(f"textspan/{path.stem}", why, lambda: textspan.run(asked))


def _roles(warehouse: Warehouse, made: _Made, asked: RolesConfig) -> None:
    """Find roles, the stability of picks, and attributes, where they are not current."""
    folder, basis = warehouse.scan(str(asked.scan)), str(asked.basis)
    now = Now.of(folder)
    why = now.why_not(roles.roles_path(folder, basis), roles.roles_claim(now, asked, basis))
    if why is None and asked.bootstrap:
        why = now.why_not(
            roles.stability_path(folder, basis), roles.stability_claim(now, asked, basis)
        )
    made.step(f"roles/{basis}", why, lambda: roles.run(asked))
    if asked.attributes:
        why = now.why_not(attributes_path(folder), now.claim(KINDS[ATTRIBUTES]))
        made.step(f"{ATTRIBUTES}/{ATTRIBUTES}", why, lambda: roles.run_attributes(asked) or None)


def _classifier(warehouse: Warehouse, made: _Made, asked: ZeroShotConfig) -> None:
    """Make a classifier and its logits where one of them is not current."""
    folder, name = warehouse.scan(str(asked.scan)), zeroshot.classifier_name(asked)
    now = Now.of(folder)
    claims = zeroshot.claims(now, asked)
    path = classifier_path(folder, name)
    why = now.why_not(path, claims[CLASSIFIERS])
    if why is None:
        # logits that would be too large were not written
        for kind in read_provenance(path)["with"]:
            why = why or now.why_not(classifier_path(folder, name, kind), claims[kind])
    made.step(f"{CLASSIFIERS}/{name}", why, lambda: zeroshot.run(asked))
