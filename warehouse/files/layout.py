"""Where everything lies below a warehouse's root (DESIGN §3); no file is written but records."""

import uuid
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import StaleScan, StoreError, UnknownName
from schemas.manifest import ScanRecord
from schemas.names import SEGMENTATION, check_name
from schemas.written import DATABASE, POOLS, RUNS, SCAN_RECORD, SCANS, VERSIONS
from warehouse.files.atomic import PROBE, write_text
from warehouse.files.documents import read_document


@dataclass(frozen=True)
class ScanDir:
    """The folder of one scan."""

    path: Path

    @property
    def name(self) -> str:
        """The scan's identifier."""
        return self.path.name

    @property
    def record(self) -> Path:
        """scan.json, as `ScanRecord`."""
        return self.path / SCAN_RECORD

    @property
    def frames(self) -> Path:
        """The head frames, as safetensors."""
        return self.path / "frames.safetensors"

    def frame_table(self, sha256: str) -> Path:
        """Return the head frames as SQL reads them, by the digest of frames.safetensors."""
        return self.path / f"frames-{sha256[:16]}.parquet"

    @property
    def shards(self) -> Path:
        """Folder of the shards."""
        return self.path / "shards"

    @property
    def snapshots(self) -> Path:
        """Folder of the snapshots."""
        return self.path / "snapshots"

    @property
    def moments(self) -> Path:
        """Folder of the moments merged over shards, which can be made again."""
        return self.path / "moments"

    @property
    def rejects(self) -> Path:
        """Rejects of the newest snapshot, over all its shards."""
        return self.path / "rejects.parquet"

    @property
    def lock(self) -> Path:
        """File that a writer locks."""
        return self.path / "scan.lock"

    @property
    def heads(self) -> Path:
        """heads.parquet: each head's merged moments, summarised."""
        return self.path / "heads" / "heads.parquet"

    @property
    def textspan(self) -> Path:
        """Folder of the TextSpan results, one folder per basis."""
        return self.results("textspan")

    @property
    def roles(self) -> Path:
        """Folder of the roles."""
        return self.results("roles")

    @property
    def classifiers(self) -> Path:
        """Folder of the zero-shot classifiers."""
        return self.results("classifiers")

    @property
    def unfinished(self) -> Path:
        """Folder of the parts of results whose making goes on at the next run."""
        return self.path / "unfinished"

    def results(self, kind: str) -> Path:
        """Return the folder of the results of one kind: textspan, roles, classifiers, ..."""
        return self.path / check_name(kind, "kind of result")

    def shard(self, name: str) -> Path:
        """Return the folder of a shard."""
        return self.shards / name

    def snapshot(self, number: int) -> Path:
        """Return the file of a snapshot."""
        return self.snapshots / f"{number:06d}.json"

    def load_record(self) -> ScanRecord:
        """Read scan.json.

        Raises:
            NewerFormat: a newer version of the program has written it.
            CorruptStore: it is absent or not a scan's record.
        """
        return read_document(self.record, ScanRecord, "a scan record", "expected a finished scan")

    def save_record(self, record: ScanRecord) -> None:
        """Write scan.json atomically."""
        write_text(self.record, record.to_json())

    def require_same(self, record: ScanRecord) -> None:
        """Check that `record` may add to what is stored; a scan without a record accepts any.

        Raises:
            StaleScan: the stored numbers come from another configuration; the message says which
                parts differ.
        """
        if not self.record.exists():
            return
        stored = self.load_record()
        if stored.fingerprint() == record.fingerprint():
            return
        raise StaleScan(
            f"scan {self.name!r} was made with another {_differences(stored, record)}; "
            "use another --scan name, or --restart to forget what is stored"
        )


def _differences(stored: ScanRecord, given: ScanRecord) -> str:
    """Name what differs between two records, among what decides the stored numbers."""
    parts = {"layers", "precision", "stored", "pool_mlp", "ln_split", "format", "frames_sha256"}
    old, new = stored.model_dump(mode="json"), given.model_dump(mode="json")
    said = [f"{p} ({old[p]} there, {new[p]} now)" for p in sorted(parts) if old[p] != new[p]]
    before, now = old["model"].pop("preprocessing"), new["model"].pop("preprocessing")
    said += [f"{p} ({before[p]} there, {now[p]} now)" for p in before if before[p] != now[p]]
    model = [k for k, v in old["model"].items() if v != new["model"][k]]
    return "; ".join([*(["model (" + ", ".join(model) + ")"] if model else []), *said])


@dataclass(frozen=True)
class Warehouse:
    """A warehouse's root folder."""

    root: Path

    @property
    def exists(self) -> bool:
        """Whether anything of a warehouse is there."""
        kept = (self.root / SCANS, self.pools, self.runs, self.segmentation)
        return any(part.exists() for part in (*kept, self.versions, self.database))

    @property
    def database(self) -> Path:
        """The published database: a link to the newest version."""
        return self.root / DATABASE

    @property
    def versions(self) -> Path:
        """Folder of the published versions."""
        return self.root / VERSIONS

    @property
    def pools(self) -> Path:
        """Folder of the description pools."""
        return self.root / POOLS

    @property
    def runs(self) -> Path:
        """Folder of the records of runs, one file each."""
        return self.root / RUNS

    @property
    def segmentation(self) -> Path:
        """Folder of the scores of maps against masks, one file per run."""
        return self.root / SEGMENTATION

    def scans(self) -> list[str]:
        """Return the names of the scans that have a record, sorted."""
        return sorted(p.parent.name for p in (self.root / SCANS).glob(f"*/{SCAN_RECORD}"))

    def scan(self, name: str) -> ScanDir:
        """Return an existing scan.

        Raises:
            UnknownName: there is no such scan; the message lists those that exist.
        """
        found = self.scans()
        if name not in found:
            raise UnknownName.among("scan", name, found)
        return ScanDir(self.root / SCANS / name)

    def create_scan(self, name: str) -> ScanDir:
        """Return the folder of a scan, made if it is not there.

        Raises:
            UsageError: the name cannot serve as a folder's.
        """
        scan = ScanDir(self.root / SCANS / check_name(name, "scan"))
        scan.shards.mkdir(parents=True, exist_ok=True)
        scan.snapshots.mkdir(exist_ok=True)
        return scan


def probe_write(root: Path) -> str:
    """Write a small file into the warehouse; return the token with which a worker finds it."""
    token = uuid.uuid4().hex
    write_text(root / f"{PROBE}{token}", token)
    return token


def probe_read(root: Path, token: str) -> None:
    """Check, on a worker, that `root` is the folder that `probe_write` wrote to.

    Raises:
        StoreError: the worker does not see that file.
    """
    path = root / f"{PROBE}{token}"
    if not path.is_file() or path.read_text() != token:
        raise StoreError(
            f"a worker does not see the warehouse at {root}; expected one POSIX path that every "
            "worker shares: mount it on all of them, under the same name"
        )


def probe_remove(root: Path, token: str) -> None:
    """Remove what `probe_write` wrote."""
    (root / f"{PROBE}{token}").unlink(missing_ok=True)
