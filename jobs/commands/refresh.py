"""Scan, textspan and publish as a YAML file says, each only where needed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from jobs import console
from jobs.commands import publish, scan, textspan, zeroshot
from jobs.commands.pool import import_
from jobs.commands.pool.import_ import PoolImportConfig
from jobs.commands.publish import PublishConfig
from jobs.commands.roles import build as roles
from jobs.commands.roles.build import RolesConfig
from jobs.commands.scan import ScanConfig
from jobs.commands.textspan import TextSpanConfig
from jobs.commands.zeroshot import ZeroShotConfig
from schemas.config import Config, load_yaml
from schemas.errors import TooManyRejects, UsageError
from schemas.results.classifiers import CLASSIFIERS
from warehouse.database.publish import Published
from warehouse.files.layout import Warehouse
from warehouse.results.files import read_provenance
from warehouse.store.pools import pools

ARGUMENTS = ("plan",)


class RefreshConfig(Config):
    """Options of `headatlas refresh`."""

    plan: Path = Field(
        description="YAML file: warehouse, scan, textspan, roles, zeroshot, publish."
    )


class Night(Config):
    """The YAML file of a refresh; each part takes the options of its command."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    scan: dict[str, Any] = Field(description="Options of scan.")
    textspan: list[dict[str, Any]] = Field(default=[], description="Options of textspan, a list.")
    roles: list[dict[str, Any]] = Field(default=[], description="Options of roles build, a list.")
    zeroshot: list[dict[str, Any]] = Field(default=[], description="Options of zeroshot, a list.")
    publish: dict[str, Any] = Field(default={}, description="Options of publish.")


@dataclass(frozen=True)
class RefreshResult:
    """What a refresh did.

    Attributes:
        scan: the scan's own result.
        made: results made anew, as `textspan/general`.
        published: the new version; None when nothing had changed.
    """

    scan: scan.ScanResult
    made: tuple[str, ...]
    published: Published | None


def run(config: RefreshConfig) -> RefreshResult:
    """Scan; make anew the bases, roles and classifiers that are stale; publish if need be.

    Raises:
        UsageError: the plan is no such file, or holds a wrong option.
        TooManyRejects: after everything else is done.
    """
    night = Night.checked(load_yaml(config.plan))
    warehouse = Warehouse(night.warehouse)

    def options(given: dict[str, Any], **fixed: str) -> dict[str, Any]:
        named = {name.replace("-", "_"): value for name, value in given.items()}
        return {"warehouse": night.warehouse, **fixed, **named}

    # every option is checked before any work is done
    asked = ScanConfig.checked(options(night.scan))
    spans = [TextSpanConfig.checked(options(given)) for given in night.textspan]
    tests = [RolesConfig.checked(options(given)) for given in night.roles]
    classes = [ZeroShotConfig.checked(options(given)) for given in night.zeroshot]
    shown = PublishConfig.checked(options(night.publish))

    done = scan.run(asked.model_copy(update={"max_rejects": None}))
    here = {"scan": done.scan}
    made = [_span(warehouse, done, span.model_copy(update=here)) for span in spans]
    made += [_roles(warehouse, done, test.model_copy(update=here)) for test in tests]
    made += [_classifier(warehouse, done, one.model_copy(update=here)) for one in classes]
    names = tuple(name for name in made if name is not None)
    published = None
    if names or _shown(warehouse).get(done.scan) != done.snapshot:
        published = publish.run(shown)
    result = RefreshResult(done, names, published)
    try:
        scan.check_rejects(asked, done)
    except TooManyRejects as late:
        late.done = result  # so that what was made and published is said
        raise
    return result


def say(config: RefreshConfig, done: RefreshResult) -> None:
    """Say what was made anew, and which version shows it."""
    console.note(
        f"{done.scan.scan}: {done.scan.scanned:,} pictures scanned, made anew: "
        f"{', '.join(done.made) or 'nothing'}, "
        + (f"published version {done.published.version}" if done.published else "nothing new")
    )


def _shown(warehouse: Warehouse) -> dict[str, int]:
    """Return the snapshots that the published database shows, by scan; none before the first."""
    if not warehouse.database.exists():
        return {}
    sidecar = warehouse.database.resolve().with_suffix(".json")
    scans: dict[str, int] = json.loads(sidecar.read_text(encoding="utf-8"))["scans"]
    return scans


def _fresh(path: Path, done: scan.ScanResult) -> bool:
    """Whether a result was made from the scan's newest snapshot."""
    return path.is_file() and read_provenance(path).get("snapshot") == done.snapshot


def _span(warehouse: Warehouse, done: scan.ScanResult, asked: TextSpanConfig) -> str | None:
    """Make a basis where stale; a pool that ships is imported if it is not there yet."""
    if asked.pool not in pools(warehouse):
        if asked.pool not in import_.SHIPPED:
            raise UsageError(
                f"textspan: no pool {asked.pool!r} in {warehouse.root}; import it first"
            )
        import_.run(
            PoolImportConfig(file=Path(asked.pool), warehouse=warehouse.root, name=asked.pool)
        )
    if _fresh(textspan.basis_path(warehouse.scan(done.scan), asked), done):
        return None
    return f"textspan/{textspan.run(asked).basis}"


def _roles(warehouse: Warehouse, done: scan.ScanResult, asked: RolesConfig) -> str | None:
    """Test a basis' heads for roles where stale; a basis must be named."""
    if asked.basis is None:
        raise UsageError("roles: name the basis, as in `roles: [{basis: general}]`")
    if _fresh(warehouse.scan(done.scan).roles / f"{asked.basis}.parquet", done):
        return None
    return f"roles/{roles.run(asked).basis}"


def _classifier(warehouse: Warehouse, done: scan.ScanResult, asked: ZeroShotConfig) -> str | None:
    """Classify the pictures where stale."""
    name = zeroshot.classifier_name(asked)
    if _fresh(warehouse.scan(done.scan).results(CLASSIFIERS) / f"{name}.parquet", done):
        return None
    return f"{CLASSIFIERS}/{zeroshot.run(asked).classifier}"
