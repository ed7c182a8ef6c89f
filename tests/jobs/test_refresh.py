"""What a scheduler runs: each step only where it is needed, readers undisturbed."""

import shutil
from pathlib import Path

import duckdb
import pytest
import yaml

from jobs.commands import refresh
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
        },
        "textspan": [{"pool": "mine", "m": 2}],
        "zeroshot": [{"classes": str(tmp_path / "texts.txt"), "classifier": "things"}],
    }
    path = tmp_path / "night.yaml"
    path.write_text(yaml.safe_dump(plan))
    from jobs.commands.pool import import_
    from jobs.commands.pool.import_ import PoolImportConfig

    import_.run(PoolImportConfig(file=texts, warehouse=tmp_path / "w", name="mine"))
    return path


@pytest.mark.usefixtures("ray_session")
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
