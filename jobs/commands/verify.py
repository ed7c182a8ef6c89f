"""Check every live file: checksums, counts, layout."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from jobs import console
from schemas.config import Config
from schemas.errors import CorruptStore
from schemas.text import how_many
from warehouse.files.layout import Warehouse
from warehouse.store import verify


class VerifyConfig(Config):
    """Options of `headatlas verify`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    scan: str | None = Field(default=None, description="Only this scan; default, all.")
    sample: int | None = Field(
        default=None,
        ge=0,
        description="Read the contributions of so many shards, drawn at random; default, of all.",
    )
    quick: bool = Field(default=False, description="Leave out checksums and the vectors' values.")


@dataclass(frozen=True)
class Verified:
    """What was checked, by scan; and what is wrong with pools and runs of segment."""

    reports: tuple[verify.Report, ...]
    shared: tuple[verify.Problem, ...]

    @property
    def problems(self) -> tuple[verify.Problem, ...]:
        """All that is wrong."""
        return (*(p for report in self.reports for p in report.problems), *self.shared)


def run(config: VerifyConfig) -> Verified:
    """Check every file of the live shards, and all results and pools, against what was written.

    Raises:
        CorruptStore: something is wrong; `done` holds what.
    """
    done = check(config)
    if done.problems:
        raise CorruptStore(
            f"{how_many(len(done.problems), 'problem')}; restore those files from a copy, or make "
            "those results again; shards that are lost are scanned anew by scan --restart",
            done=done,
        )
    return done


def check(config: VerifyConfig) -> Verified:
    """Return what was checked and what is wrong.

    Pools and the runs of segment belong to no scan, and are left out when one scan is asked for.
    """
    warehouse = Warehouse(config.warehouse)
    names = [warehouse.scan(config.scan).name] if config.scan is not None else warehouse.scans()
    reports = tuple(
        verify.verify(warehouse.scan(name), deep=not config.quick, sample=config.sample)
        for name in names
    )
    runs = verify.verify_shared(warehouse, deep=not config.quick) if config.scan is None else []
    return Verified(reports, tuple(runs))


def say(config: VerifyConfig, done: Verified) -> None:
    """Say what was checked, and print what is wrong."""
    for report in done.reports:
        console.note(
            f"{report.scan}: {how_many(report.shards, 'shard')}, "
            f"{how_many(report.images, 'picture')} checked"
        )
    if done.problems:
        rows = [(p.shard, p.file, p.problem) for p in done.problems]
        console.table("Problems", ("shard", "file", "problem"), rows)
