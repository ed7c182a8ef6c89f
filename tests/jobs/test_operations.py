"""Every command of docs/operations.md, in its order, on a small warehouse and a real S3 server."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from jobs import cli
from schemas.night import NightSummary
from tests.pipeline.sources.test_s3 import bucket
from warehouse.database.query import query
from warehouse.files.layout import Warehouse

__all__ = ["bucket"]  # a fixture
PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


def run(line: str) -> None:
    """Run a command; it must end well."""
    program, *words = shlex.split(line)
    if program != "headatlas":
        subprocess.run([program, *words], check=True)
        return
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 0, line


def test_a_year_of_a_warehouse(
    bucket: Path, world: Path, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = PAGE.read_text(encoding="utf-8")
    (plan,) = re.findall(r"```yaml\n(.*?)```", text, re.S)
    night = yaml.safe_load(plan)
    night["scan"] |= {"model": str(tiny_config), "pretrained": "none"}
    monkeypatch.chdir(tmp_path)
    Path("night.yaml").write_text(yaml.safe_dump(night))
    for i, path in enumerate(sorted((world.parent / "images").glob("*.png"))[:8]):
        folder = Path("pictures", ("bird", "car")[i % 2])
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    lines = re.findall(r"^    (\S.*)$", text, re.M)
    assert len(lines) > 15
    for line in lines:
        run(line)
    told = NightSummary.model_validate_json(Path("night.json").read_text())
    assert json.loads(Path("alarm.json").read_text()) == told.model_dump()
    # restored: the night after had nothing to do
    assert (told.outcome, told.scanned, told.images) == ("done", 0, 8)
    shown = query(Warehouse(Path("moved")), "SELECT images FROM scans").to_pylist()
    assert shown == [{"images": 8}]
    assert (bucket / "atlas" / "atlas.duckdb").is_file()
