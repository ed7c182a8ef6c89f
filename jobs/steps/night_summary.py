"""The summary of a night of `headatlas refresh`: what was there before, and what came of it."""

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import HeadAtlasError
from schemas.manifest import Snapshot
from schemas.night import Accuracy, Drift, NightSummary, Rejects, Throughput
from schemas.results.classifiers import CLASSIFIERS
from schemas.runs import RunRecord
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.results.files import list_results, read_provenance
from warehouse.store import snapshots
from warehouse.store.runs import read_runs
from warehouse.store.zero_shot import zero_shot_of

if TYPE_CHECKING:
    from jobs.commands.refresh import RefreshResult

# Earlier nights that a night's throughput is compared with.
NIGHTS = 30


@dataclass(frozen=True)
class Standing:
    """How the scans of a warehouse stand at one time.

    Attributes:
        rejects: pictures rejected, by scan.
        accuracies: by scan, and within it by `zero_shot` or `classifiers/NAME`.
    """

    rejects: dict[str, int] = field(default_factory=dict)
    accuracies: dict[str, dict[str, float]] = field(default_factory=dict)


def standing(root: Path) -> Standing:
    """Return how the scans stand now; what cannot be read is left out."""
    warehouse, found = Warehouse(root), Standing()
    for name in warehouse.scans():
        try:
            scan = warehouse.scan(name)
            newest = snapshots.latest(scan)
            found.rejects[name] = newest.rejects if newest is not None else 0
            found.accuracies[name] = _accuracies(scan, newest)
        except HeadAtlasError:
            continue
    return found


def _accuracies(scan: ScanDir, newest: Snapshot | None) -> dict[str, float]:
    sanity = zero_shot_of(scan, scan.load_record(), newest) if newest is not None else None
    found = {"zero_shot": (sanity or {}).get("accuracy")}
    for path in list_results(scan, CLASSIFIERS):
        found[f"{CLASSIFIERS}/{path.stem}"] = read_provenance(path).get("accuracy")
    return {name: float(value) for name, value in found.items() if isinstance(value, (int, float))}


def summary(
    root: Path | None, record: RunRecord, before: Standing, done: "RefreshResult | None"
) -> NightSummary:
    """Return the summary of a night whose record is this one."""
    scan = record.scan_id
    after = standing(root) if root is not None else Standing()
    return NightSummary(
        run=record.run,
        warehouse=str(root) if root is not None else None,
        scan=scan,
        started_at=record.started_at,
        ended_at=record.ended_at or record.started_at,
        seconds=record.seconds or 0.0,
        outcome=record.outcome,
        exit_code=record.exit_code or 0,
        message=record.message,
        images=record.images,
        scanned=record.scanned,
        vanished=done.scan.vanished if done is not None else None,
        rejects=_rejects(before, done),
        throughput=_throughput(root, record) if root is not None and scan else None,
        accuracy=_accuracy(before.accuracies.get(scan or "", {}), after.accuracies.get(scan or "")),
        drift=[Drift(**asdict(head)) for head in done.drifted] if done is not None else [],
        made=done.why if done is not None else {},
        housekeeping=asdict(done.housekeeping) if done is not None else {},
        published=done.published.version if done is not None and done.published else None,
    )


def _rejects(before: Standing, done: "RefreshResult | None") -> Rejects | None:
    if done is None:
        return None
    total, earlier = done.scan.rejects, before.rejects.get(done.scan.scan, 0)
    return Rejects(total=total, new=total - earlier, reasons=dict(done.scan.reasons))


def _accuracy(
    before: Mapping[str, float], after: Mapping[str, float] | None
) -> dict[str, Accuracy]:
    return {
        name: Accuracy(before=before.get(name), after=value)
        for name, value in (after or {}).items()
    }


def _throughput(root: Path, record: RunRecord) -> Throughput:
    earlier = [
        rate
        for one in read_runs(Warehouse(root))
        if one.command == record.command
        and one.scan_id == record.scan_id
        and one.started_at < record.started_at
        and (rate := worker_rate(one)) is not None
    ][:NIGHTS]
    rate, median = worker_rate(record), statistics.median(earlier) if earlier else None
    ratio = rate / median if rate is not None and median else None
    return Throughput(rate=rate, median=median, ratio=ratio, nights=len(earlier))


def worker_rate(record: RunRecord) -> float | None:
    """Return the pictures a second of workers' time; None where none was spent.

    A small night's wall time is that of loading the model: it would say nothing of how fast.
    """
    wall = record.stages.get("wall")
    return record.scanned / wall if record.scanned and wall else None
