"""What a result stands on, and whether that still holds: the one rule, asked by everybody.

A claim is a digest of the parts that its kind declares (`schemas/kinds.py`). It is written into the
result's provenance together with the parts, so that a result that is not current can say why. Which
snapshot was the newest decides nothing: what it holds does.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from schemas.errors import StaleScan
from schemas.kinds import KNOWN, Kind, Part
from schemas.manifest import ScanRecord, Snapshot, digest
from schemas.results import KINDS
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.results.files import STANDS_ON, read_provenance, utc_now
from warehouse.results.words import changed
from warehouse.store import snapshots
from warehouse.store.content import Content, content
from warehouse.store.opened import OpenedScan
from warehouse.store.pools import pool_digest

OLDER: Final = "made by an older version"
# a result of other weights, or of another layout of heads, says nothing of this scan
FOREIGN: Final = frozenset({Part.WEIGHTS, Part.MODEL, Part.CONFIGURATION})
_NAMES: Final = frozenset(map(str, Part))
_UPSTREAM: Final = {Part.BASIS: "textspan", Part.CLASSIFIER: "classifiers"}


@dataclass(frozen=True)
class Claim:
    """What one result stands on.

    Attributes:
        kind: of the result.
        parts: by `Part`, as JSON: digests, and beside them what makes them readable.
    """

    kind: Kind
    parts: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Equal claims are equal results."""
        return claim_digest(self.kind.name, self.kind.format, self.parts)


def claim_digest(kind: str, number: int, parts: Mapping[str, Any]) -> str:
    """Return the digest of a claim's parts."""
    return digest({"kind": kind, "format": number, STANDS_ON: parts})


@dataclass(frozen=True)
class Broken:
    """Something that a result stands on and that is no longer so; None: it says nothing of it."""

    part: Part | None
    words: str


def foreign(found: tuple[Broken, ...]) -> bool:
    """Whether a result is of another model or configuration: it is then shown nowhere."""
    return any(one.part in FOREIGN for one in found)


def in_words(found: tuple[Broken, ...]) -> str | None:
    """Return why a result is not current, in one line; None when it is."""
    return "; ".join(dict.fromkeys(one.words for one in found)) or None


@dataclass(frozen=True)
class Now:
    """What there is now, of a scan or of the warehouse alone; what was asked once is kept.

    Attributes:
        scan: None for results that belong to no scan; record and snapshot are None with it.
    """

    warehouse: Warehouse
    scan: ScanDir | None = None
    record: ScanRecord | None = None
    snapshot: Snapshot | None = None

    @classmethod
    def opened(cls, found: OpenedScan) -> "Now":
        """Return what an opened scan holds, whatever is committed later."""
        return cls(found.warehouse, found.scan, found.record, found.snapshot)

    @classmethod
    def of(cls, scan: ScanDir) -> "Now":
        """Open a scan as it is now."""
        warehouse = Warehouse(scan.path.parent.parent)
        return cls(warehouse, scan, scan.load_record(), snapshots.latest(scan))

    @cached_property
    def _content(self) -> Content | None:
        if self.scan is None or self.snapshot is None:
            return None
        return content(self.scan, self.snapshot)

    @cached_property
    def _pools(self) -> dict[str, str | None]:
        return {}

    def claim(self, kind: Kind, given: Mapping[Part, Any] | None = None) -> Claim:
        """Return the claim of a result that would be made now.

        Args:
            kind: of the result.
            given: what the scan does not answer: names of a pool, basis or classifier; digests of a
                checkpoint or of data; options by name; the classes. LABELS: True for a kind that
                may stand on them; MODEL: the scan's name, of another scan or for a result that is
                of none; OTHER: that scan's name.

        Raises:
            ValueError: the kind does not declare a part, or one that it declares is not given.
        """
        given = given or {}
        wanted = {*kind.stands_on, *given}
        unknown = wanted - {*kind.stands_on, *kind.may_stand_on}
        missing = {part for part in kind.stands_on if part not in KNOWN} - given.keys()
        if unknown or missing:
            raise ValueError(
                f"{kind.name}: {sorted(unknown)} not declared, {sorted(missing)} not given"
            )
        parts = {str(part): self._given(part, given.get(part)) for part in sorted(wanted)}
        # as it is read back: a tuple is a list
        return Claim(kind, json.loads(json.dumps(parts)))

    def _given(self, part: Part, value: Any) -> Any:
        if part is Part.OTHER or (part is Part.MODEL and value is not None):
            return self.part(part, {"scan": value})
        if part is Part.POOL or part in _UPSTREAM:
            return self.part(part, {"name": value})
        if part is Part.CLASSES:
            return {"classes": len(value), "digest": digest(value)}
        if part in KNOWN:
            return self.part(part, {})
        return value if part is Part.OPTIONS else {"digest": value}

    def part(self, part: Part, said: Any) -> Any:
        """Return what a part is now, in the form of what a claim said of it.

        What only the maker is given (options, classes, data) is as it was said.
        """
        if part is Part.MODEL:
            return self._model(said)
        if part is Part.OTHER:
            return self._other(said["scan"])
        if part is Part.WEIGHTS and self.record:
            return {"sha256": self.record.model.weights_sha256}
        if part is Part.POOL:
            return {"name": said["name"], "digest": self._pool(said["name"])}
        if part in _UPSTREAM:
            path = self._upstream(part, said["name"])
            there = path.is_file() and read_provenance(path).get("claim", OLDER)
            return {"name": said["name"], "claim": there or None}
        if part is Part.CONFIGURATION:
            return configuration(self.record) if self.record else None
        if part is Part.PICTURES and self.snapshot and self._content:
            return {"digest": self._content.pictures, "images": self.snapshot.images}
        if part is Part.LABELS and self._content:
            return {"digest": self._content.labels}
        return None if part in KNOWN else said

    def _model(self, said: Mapping[str, Any]) -> Any:
        """Return the model of this scan; or of the one that is named, where there is none here."""
        name = said.get("scan")
        if name is not None and name not in self.warehouse.scans():
            return None
        record = self.record if name is None else self.warehouse.scan(name).load_record()
        if record is None:
            return None
        found = {
            "weights": record.model.weights_sha256,
            "precision": record.precision,
            "preprocessing": digest(record.model.preprocessing.model_dump(mode="json")),
        }
        return found if name is None else {"scan": name, **found}

    def _other(self, name: str) -> Any:
        """Return another scan's configuration and pictures; None where it has none."""
        if name not in self.warehouse.scans():
            return None
        scan = self.warehouse.scan(name)
        newest = snapshots.latest(scan)
        if newest is None:
            return None
        return {
            "scan": name,
            "fingerprint": scan.load_record().fingerprint(),
            "digest": content(scan, newest).pictures,
            "images": newest.images,
        }

    def _pool(self, name: str) -> str | None:
        if name not in self._pools:
            self._pools[name] = pool_digest(self.warehouse, name)
        return self._pools[name]

    def _upstream(self, part: Part, name: str) -> Path:
        if self.scan is None:
            raise ValueError(f"{part}: a result of no scan cannot stand on one of a scan")
        return self.scan.results(_UPSTREAM[part]) / f"{name}.parquet"

    def broken(self, kind: Kind, provenance: Mapping[str, Any]) -> tuple[Broken, ...]:
        """Return what a result stands on that is no longer so; nothing: it is current."""
        if STANDS_ON not in provenance:
            return self._of_older_version(provenance)
        found = []
        if provenance["format"] != kind.format:
            found.append(Broken(None, f"{OLDER}: format {provenance['format']}, now {kind.format}"))
        said_parts = provenance[STANDS_ON]
        for part in kind.stands_on:
            if part not in said_parts:
                found.append(Broken(None, f"{OLDER}: it does not say its {part}"))
        for name, said in said_parts.items():
            if name not in _NAMES:
                found.append(Broken(None, f"its {name} is unknown to this version"))
                continue
            part = Part(name)
            if said is None:
                found.append(Broken(part, f"its {part} was not known"))
                continue
            now = self.part(part, said)
            found += [Broken(part, words) for words in changed(part, said, now)]
            if part in _UPSTREAM and now["claim"] is not None:
                found += self._upstream_broken(part, said["name"])
        return tuple(found)

    def _upstream_broken(self, part: Part, name: str) -> list[Broken]:
        """Return what is broken of the result that another stands on."""
        path = self._upstream(part, name)
        below = self.broken(KINDS[_UPSTREAM[part]], read_provenance(path))
        return [Broken(one.part, f"{part} {name}: {one.words}") for one in below]

    def _of_older_version(self, provenance: Mapping[str, Any]) -> tuple[Broken, ...]:
        """Judge a result without a claim: never current; foreign if its snapshot says so."""
        number = provenance.get("snapshot")
        if self.scan is not None and self.record is not None and number is not None:
            if number in snapshots.numbers(self.scan):
                made_from = snapshots.load(self.scan, number)
                if made_from.fingerprint != self.record.fingerprint():
                    return (Broken(Part.CONFIGURATION, f"{OLDER}, of another configuration"),)
        return (Broken(None, OLDER),)

    def why_not(self, path: Path, claim: Claim) -> str | None:
        """Return why a stored result is not the one that `claim` asks for; None when it is.

        What refresh asks: also options, classes and data are compared, not only what there is.
        """
        if not path.is_file():
            return "not there yet"
        provenance = read_provenance(path)
        if provenance.get("claim") != claim.digest:
            if STANDS_ON not in provenance:
                return OLDER
            return "; ".join(differences(provenance, claim)) or "another claim"
        return in_words(self.broken(claim.kind, provenance))

    def require_usable(self, kind: Kind, path: Path) -> dict[str, Any]:
        """Return a result's provenance, or refuse one of another model or configuration.

        A result of older pictures can be used; what is published says that it is stale.

        Raises:
            StaleScan: it is of another model or configuration.
        """
        provenance = read_provenance(path)
        found = self.broken(kind, provenance)
        if foreign(found):
            raise StaleScan(
                f"{kind.name} {path.stem!r} is not of this scan as it is now: {in_words(found)}; "
                f"run headatlas {kind.command} again"
            )
        return provenance

    def provenance(self, claim: Claim, **more: Any) -> dict[str, Any]:
        """Return what a result says of where it comes from; `more` goes with it."""
        of_pictures = {Part.PICTURES, Part.LABELS} & set(claim.kind.stands_on)
        number = {"snapshot": self.snapshot.number} if self.snapshot and of_pictures else {}
        return {
            "kind": claim.kind.name,
            "format": claim.kind.format,
            "claim": claim.digest,
            STANDS_ON: dict(claim.parts),
            **number,
            "created_at": utc_now(),
            **more,
        }


def configuration(record: ScanRecord) -> dict[str, Any]:
    """Return the configuration of a scan as a part of a claim: its digest, and what it is of."""
    return {
        "fingerprint": record.fingerprint(),
        "weights": record.model.weights_sha256,
        "layers": list(record.layers),
        "precision": record.precision,
    }


def differences(provenance: Mapping[str, Any], claim: Claim) -> tuple[str, ...]:
    """Return what differs between a stored claim and another of the same kind, in words."""
    said = provenance[STANDS_ON]
    found = []
    if provenance["format"] != claim.kind.format:
        found.append(f"format {provenance['format']} -> {claim.kind.format}")
    for name in sorted({*said, *claim.parts}):
        if name in _NAMES:
            found += changed(Part(name), said.get(name), claim.parts.get(name))
    return tuple(dict.fromkeys(found))
