"""The zero-shot number of scan.json is of pictures and labels, whatever snapshot holds them."""

import shutil
from pathlib import Path

import pytest

from jobs.commands import info, scan
from jobs.commands.info import InfoConfig
from jobs.steps.models import load_for
from jobs.steps.night_summary import standing
from jobs.steps.opened import Opened, open_scan
from jobs.steps.sanity import sanity_check
from pipeline.heads.merging import merge_tables
from schemas.manifest import ScanRecord
from tests.conftest import scan_config
from warehouse.database.publish import publish
from warehouse.database.query import query
from warehouse.files.layout import Warehouse
from warehouse.store.rewrite import compact
from warehouse.store.zero_shot import zero_shot_of


def number(found: Opened) -> object:
    """Return the number as it is served: the same by info, by a night's summary and in SQL."""
    said = zero_shot_of(found.scan, found.record, found.snapshot)
    accuracy = None if said is None else said["accuracy"]
    root = found.warehouse.root
    publish(found.warehouse)
    table = query(found.warehouse, "SELECT zero_shot_accuracy AS a FROM scans")
    assert table["a"].to_pylist() == [accuracy]
    (row,) = next(
        rows for title, _, rows in info.run(InfoConfig(warehouse=root)) if title == "Scans"
    )
    assert row[-1] == accuracy
    assert standing(root).accuracies[found.name].get("zero_shot") == accuracy
    return accuracy


def test_it_is_kept_by_compaction_and_made_anew_with_other_labels(
    scanned: Path, world: Path, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "w"
    shutil.copytree(scanned, root)
    warehouse = Warehouse(root)
    first = open_scan(warehouse, "s")
    was = number(first)
    assert was is not None
    assert compact(first.scan, 1000, merge_tables) is not None
    compacted = open_scan(warehouse, "s")
    assert compacted.snapshot.number > first.snapshot.number
    assert number(compacted) == was

    with monkeypatch.context() as patched:
        patched.setattr("jobs.steps.sanity.class_weights", None)  # calling it fails
        scan.run(scan_config(world, tiny_config, root, shard_size=1000, workers=0))
    assert open_scan(warehouse, "s").record == compacted.record

    # the same pictures under other labels, committed by a run that died before its number
    with monkeypatch.context() as patched:
        patched.setattr("jobs.steps.scanning.sanity_check", lambda *given: None)
        again = scan_config(world, tiny_config, root, shard_size=1000, workers=0, labels="colour")
        assert scan.run(again).scanned == 0
    relabelled = open_scan(warehouse, "s")
    assert number(relabelled) is None
    model = load_for(relabelled.record)
    done = sanity_check(relabelled.scan, relabelled.record, relabelled.snapshot, model)
    assert done is not None
    assert done.classes == labels_of(world, "colour") != labels_of(world, "kind")
    assert number(open_scan(warehouse, "s")) == round(done.accuracy, 4)


def test_a_number_of_an_older_version_is_of_the_snapshot_that_it_names(scanned: Path) -> None:
    found = open_scan(Warehouse(scanned), "s")
    assert found.record.zero_shot is not None
    said = {k: v for k, v in found.record.zero_shot.items() if k not in ("pictures", "labels")}

    def older(snapshot: int) -> ScanRecord:
        return found.record.model_copy(update={"zero_shot": {**said, "snapshot": snapshot}})

    there = zero_shot_of(found.scan, older(found.snapshot.number), found.snapshot)
    assert there is not None and there["accuracy"] == said["accuracy"]
    assert zero_shot_of(found.scan, older(found.snapshot.number + 1), found.snapshot) is None


def labels_of(world: Path, column: str) -> int:
    """Return how many different values a column of the listing has."""
    from csv import DictReader

    with world.open(encoding="utf-8", newline="") as stream:
        return len({row[column] for row in DictReader(stream)})
