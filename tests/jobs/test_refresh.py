"""What a scheduler runs: each step only where it is needed, readers undisturbed."""

import shutil
from pathlib import Path

import duckdb
import pytest
import yaml

from jobs.commands import refresh
from jobs.commands.pool import import_
from jobs.commands.pool.import_ import PoolImportConfig
from jobs.commands.refresh import RefreshConfig
from schemas.errors import TooManyRejects, UsageError
from warehouse.database.query import query
from warehouse.files.layout import Warehouse


@pytest.fixture
def night(world: Path, tiny_config: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in sorted((world.parent / "images").glob("*.png"))[:10]:
        shutil.copy(path, folder)
    texts = tmp_path / "texts.txt"
    texts.write_text("a red bird\na blue car\nsnow\n")
    plan = {
        "warehouse": str(tmp_path / "w"),
        "scan": {
            "source": str(folder),
            "model": str(tiny_config),
            "pretrained": "none",
            "scan": "nightly",
            "shard-size": 8,
            "max-rejects": 0,
            "workers": 0,
        },
        "textspan": [{"pool": "mine", "m": 2}],
        "zeroshot": [{"classes": str(tmp_path / "texts.txt"), "classifier": "things"}],
    }
    path = tmp_path / "night.yaml"
    path.write_text(yaml.safe_dump(plan))
    import_.run(PoolImportConfig(file=texts, warehouse=tmp_path / "w", name="mine"))
    return path


def test_nights_do_only_what_is_needed_and_disturb_no_reader(night: Path, world: Path) -> None:
    warehouse = Warehouse(night.parent / "w")
    first = refresh.run(RefreshConfig(plan=night))
    assert first.scan.scanned == 10
    assert first.made == ("textspan/mine", "classifiers/things")
    assert first.published is not None
    reader = duckdb.connect(str(warehouse.database.resolve()), read_only=True)
    count = "SELECT count(*), count(DISTINCT image_id) FROM contributions WHERE layer = 1"
    before = reader.execute(count).fetchall()

    still = refresh.run(RefreshConfig(plan=night))
    assert (still.scan.scanned, still.made, still.published) == (0, (), None)

    added = world.parent / "images" / "000030.png"
    shutil.copy(added, night.parent / "pictures")
    (night.parent / "pictures" / "broken.png").write_bytes(b"nothing")
    with pytest.raises(TooManyRejects) as late:
        refresh.run(RefreshConfig(plan=night))
    # what was done all the same is there to be said
    assert late.value.done.published is not None
    answer = query(warehouse, "SELECT images, rejects FROM scans").to_pylist()
    assert answer == [{"images": 11, "rejects": 1}]
    assert query(warehouse, "SELECT name FROM results WHERE stale").num_rows == 0
    assert reader.execute(count).fetchall() == before
    reader.close()


def test_a_plan_that_is_wrong_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "night.yaml"
    path.write_text("warehouse: w\nscan: {source: x, model: y, pretrained: none, colour: z}\n")
    with pytest.raises(UsageError, match="colour"):
        refresh.run(RefreshConfig(plan=path))
    path.write_text("warehouse: w\nscna: {}\n")
    with pytest.raises(UsageError, match="scan"):
        refresh.run(RefreshConfig(plan=path))


def test_a_changed_plan_is_made_anew_and_says_why(night: Path) -> None:
    def changed(**parts: object) -> refresh.RefreshResult:
        night.write_text(yaml.safe_dump({**yaml.safe_load(night.read_text()), **parts}))
        return refresh.run(RefreshConfig(plan=night))

    refresh.run(RefreshConfig(plan=night))
    done = changed(textspan=[{"pool": "mine", "m": 3}])
    assert done.why == {"textspan/mine": "option m 2 -> 3"}
    done = changed(textspan=[{"pool": "mine", "m": 3, "template": ["a photo of {}"]}])
    assert list(done.why) == ["textspan/mine"] and "option templates" in done.why["textspan/mine"]
    (night.parent / "texts.txt").write_text("a red bird\na green car\nsnow\n")
    done = changed()
    assert done.why == {"classifiers/things": "classes changed"} and done.scan.scanned == 0
    texts = night.parent / "texts.txt"
    import_.run(PoolImportConfig(file=texts, warehouse=night.parent / "w", name="mine"))
    assert changed().why == {"textspan/mine": "pool mine changed"}
    done = changed(roles=[{"basis": "mine", "turns": 0, "permutations": 100}])
    assert list(done.why) == ["roles/mine"]
    done = changed(roles=[{"basis": "mine", "turns": 0, "permutations": 100, "level": 0.1}])
    assert done.why == {"roles/mine": "option level 0.05 -> 0.1"}
    assert (changed().why, changed().published) == ({}, None)


@pytest.mark.parametrize(
    ("part", "error"),
    [
        ({"textspan": [{"pool": "none"}]}, "no pool 'none'"),
        ({"textspan": [{"pool": "mine", "template": ["nothing"]}]}, "template 'nothing'"),
        ({"textspan": [{"pool": "mine", "where": "colour = 'x'"}]}, "condition"),
        ({"roles": [{"basis": "other"}]}, "no TextSpan basis 'other'"),
        ({"zeroshot": [{"classes": "absent.txt"}]}, "absent.txt"),
        ({"zeroshot": [{"classes": "labels"}]}, "0 labels"),
        ({"zeroshot": [{"classes": "0=a,1=b", "label_column": "hue"}]}, "called 'hue'"),
    ],
)
def test_what_a_plan_names_is_checked_before_any_work(
    night: Path, part: dict[str, object], error: str
) -> None:
    night.write_text(yaml.safe_dump({**yaml.safe_load(night.read_text()), **part}))
    with pytest.raises(UsageError, match=error):
        refresh.run(RefreshConfig(plan=night))
    assert not (night.parent / "w" / "scans").exists()


def test_layers_of_a_plan_are_checked_before_any_work(night: Path) -> None:
    plan = yaml.safe_load(night.read_text())
    plan["scan"]["layers"] = "last:9"
    night.write_text(yaml.safe_dump(plan))
    with pytest.raises(UsageError, match="layers 0 to 2"):
        refresh.run(RefreshConfig(plan=night))
    assert not (night.parent / "w" / "scans").exists()
