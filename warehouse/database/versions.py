"""Versions of the published database: atlas/atlas-000018.duckdb, and the link to the newest.

A version's sidecar, atlas-000018.json, names the snapshots that its views read, so that `gc` keeps
their shards, and how it was published, so that the next version is published alike. It is written
before the database, and outlives no version.
"""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from warehouse.files.atomic import fsync, temporary_beside, write_text
from warehouse.files.layout import Warehouse

_STEM = "atlas-"


@dataclass(frozen=True)
class Version:
    """Where one version lies."""

    folder: Path
    number: int

    @property
    def database(self) -> Path:
        """The database."""
        return self.folder / f"{_STEM}{self.number:06d}.duckdb"

    @property
    def building(self) -> Path:
        """The database while it is being built."""
        return self.database.with_suffix(".duckdb.tmp")

    @property
    def sidecar(self) -> Path:
        """The snapshots that the version reads, by scan, and its heads to be materialised."""
        return self.database.with_suffix(".json")


@contextmanager
def publishing(warehouse: Warehouse) -> Iterator[None]:
    """Wait until no other process publishes this warehouse, and keep others waiting."""
    warehouse.versions.mkdir(parents=True, exist_ok=True)
    with (warehouse.versions / "publish.lock").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def existing(warehouse: Warehouse) -> list[Version]:
    """Return the finished versions, oldest first."""
    found = (p.stem.removeprefix(_STEM) for p in warehouse.versions.glob(f"{_STEM}*.duckdb"))
    return [Version(warehouse.versions, n) for n in sorted(int(f) for f in found if f.isdecimal())]


@dataclass(frozen=True)
class Settings:
    """How a warehouse is published: what was asked for last holds until something else is.

    Attributes:
        materialise: heads whose unit vectors are stored, in the words of that time.
        keep: versions to keep.
    """

    materialise: tuple[str, ...] = ()
    keep: int = 3


def settings(warehouse: Warehouse) -> Settings:
    """Return the settings of the newest version."""
    finished = existing(warehouse)
    if not finished or not finished[-1].sidecar.is_file():
        return Settings()
    document = json.loads(finished[-1].sidecar.read_text())
    return Settings(
        tuple(document.get("materialise", ())), int(document.get("keep", Settings.keep))
    )


@contextmanager
def reserved(warehouse: Warehouse, scans: Mapping[str, int], chosen: Settings) -> Iterator[Version]:
    """Take the next number for a version to build; forget it if the building fails.

    Its sidecar is written first: from then on `gc` keeps these snapshots. What a publish that was
    killed has left is removed. Call within `publishing`.
    """
    finished = existing(warehouse)
    version = Version(warehouse.versions, finished[-1].number + 1 if finished else 1)
    _discard(warehouse, keep={v.number for v in finished})
    document = {
        "version": version.number,
        "scans": dict(scans),
        "materialise": list(chosen.materialise),
        "keep": chosen.keep,
    }
    write_text(version.sidecar, json.dumps(document, indent=2) + "\n")
    try:
        yield version
    except BaseException:
        _discard(warehouse, keep={v.number for v in existing(warehouse)})
        raise


def _discard(warehouse: Warehouse, keep: set[int]) -> None:
    """Delete all files of versions other than those to keep."""
    for path in warehouse.versions.glob(f"{_STEM}*"):
        number = path.name.removeprefix(_STEM).partition(".")[0]
        if number.isdecimal() and int(number) not in keep:
            path.unlink()


def install(warehouse: Warehouse, version: Version) -> None:
    """Give the finished database its name, and point the link at it, each in one step."""
    fsync(version.building)
    version.building.rename(version.database)
    fsync(version.folder)
    aside = temporary_beside(warehouse.database)
    aside.symlink_to(version.database.relative_to(warehouse.root))
    aside.replace(warehouse.database)
    fsync(warehouse.root)


def prune(warehouse: Warehouse, keep: int) -> None:
    """Delete all but the newest `keep` versions; a process that has one open keeps its data."""
    for version in existing(warehouse)[:-keep]:
        version.database.unlink()
        version.sidecar.unlink(missing_ok=True)
