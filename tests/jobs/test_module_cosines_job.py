"""`headatlas module-cosines`: its table and figure against cosines computed at once."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from jobs.commands import module_cosines, publish, zeroshot
from jobs.commands.module_cosines import ModuleCosinesConfig
from jobs.commands.zeroshot import ZeroShotConfig
from jobs.workers.module_cosines import whole_decomposer
from pipeline.heads import module_cosines as pure
from pipeline.towers.models import load_model
from schemas.errors import UnknownName, UsageError
from tests.jobs.test_effects_job import N, made
from warehouse.database.query import query
from warehouse.files.layout import Warehouse
from warehouse.results.classifiers import read_classifier
from warehouse.store.opened import open_snapshot

__all__ = ["made"]


@pytest.fixture
def warehouse(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "w")
    return tmp_path / "w"


def test_the_table_and_the_figure_hold_the_cosines(
    warehouse: Path, tiny_config: Path, tmp_path: Path
) -> None:
    opened = open_snapshot(Warehouse(warehouse), None)
    images = opened.images(["uri", "label"]).to_pylist()
    labels = [i["label"] for i in images]
    named = sorted(set(labels), key=lambda label: -labels.count(label))[:3]
    kinds = {"classes": ",".join(f"{n}={n}" for n in named), "classifier": "kinds"}
    zeroshot.run(ZeroShotConfig.checked({"warehouse": warehouse, "templates": "none", **kinds}))
    given = {"warehouse": warehouse, "classifier": "kinds", "workers": 0}
    figure = tmp_path / "modules.svg"
    asked = ModuleCosinesConfig.checked({**given, "shard_size": 3, "output": figure})
    done = module_cosines.run(asked)
    found = read_classifier(opened.warehouse, opened.scan, "kinds")
    some = [i for i in images if i["label"] in found.labels]
    assert done.images == len(some) < N and not done.reused and done.rejects == ()
    loaded = load_model(str(tiny_config), "none")
    pixels = torch.stack([loaded.transform(Image.open(i["uri"]).convert("RGB")) for i in some])
    decomposer = whole_decomposer(loaded.tower)
    truth = torch.tensor([found.labels.index(i["label"]) for i in some])
    expected = pure.module_cosines(
        decomposer, decomposer(pixels), torch.tensor(found.weights), truth
    )
    assert done.cosines.keys() == expected.keys()
    for key, values in expected.items():
        np.testing.assert_allclose(done.cosines[key], values.mean(dim=0), atol=1e-5)
    assert figure.read_text().count("<g id=") > 6 and "direct contribution" in figure.read_text()
    assert module_cosines.run(ModuleCosinesConfig.checked(given)).reused
    publish.run(publish.PublishConfig(warehouse=warehouse))
    rows = query(Warehouse(warehouse), "FROM module_cosines WHERE layer = 1").to_pylist()
    assert len(rows) == 6
    for row in rows:
        i = pure.TARGETS.index(row["target"])
        values = expected[row["module"], 1][:, i]
        assert row["cosine"] == pytest.approx(float(values.mean()), abs=1e-5)
        assert row["deviation"] == pytest.approx(float(values.std(correction=0)), abs=1e-4)


def test_what_cannot_be_compared_is_refused(warehouse: Path) -> None:
    def run(**options: object) -> object:
        given = {"warehouse": warehouse, "classifier": "abc", "workers": 0, **options}
        return module_cosines.run(ModuleCosinesConfig.checked(given))

    with pytest.raises(UnknownName, match="called 'kinds'; there is abc"):
        run(classifier="kinds")
    with pytest.raises(UsageError, match=r"has a label that is a class of 'abc' \(as 'a'\)"):
        run()
    with pytest.raises(UsageError, match=r"cannot draw 'a.jpg'; expected .svg, .png, .pdf"):
        run(output="a.jpg")
