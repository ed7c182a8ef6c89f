"""`headatlas effects`: its tables against effects computed at once, kills, resumption, refusals."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import chain, combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from jobs.cli import program
from jobs.commands import ablate, edges, effects, scan, zeroshot
from jobs.commands.ablate import AblateConfig
from jobs.commands.edges import EdgesConfig
from jobs.commands.effects import EffectsConfig
from jobs.commands.zeroshot import ZeroShotConfig
from jobs.steps.stratified import stratified
from jobs.workers.effects import EffectsWorker
from jobs.workers.stored_pictures import Stored
from pipeline.heads.effects import (
    all_heads,
    attributed_effects,
    class_directions,
    total_effects,
)
from pipeline.heads.integrated import integrated_effects
from pipeline.heads.position_means import Layers, PositionSums, token_parts
from pipeline.towers.models import load_model
from schemas.errors import UnknownName, UsageError
from tests import warm
from tests.conftest import scan_config
from warehouse.database.query import query
from warehouse.files.layout import Warehouse
from warehouse.results.classifiers import read_classifier
from warehouse.results.files import read_result
from warehouse.store.opened import open_snapshot

N = 24


@pytest.fixture(scope="module")
def made(world: Path, tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a warehouse with a scan of 24 pictures and a classifier."""
    root = tmp_path_factory.mktemp("effects")
    lines = world.read_text().splitlines()
    listing = root / "listing.csv"
    listing.write_text("\n".join(lines[: N + 1]))
    options = {"root": str(world.parent), "workers": 0, "shard_size": 10}
    done = scan.run(scan_config(listing, tiny_config, root / "w", **options))
    assert done.images == N
    zeroshot.run(
        ZeroShotConfig(
            warehouse=root / "w", classes="a=bird,b=car,c=dog", templates="none", classifier="abc"
        )
    )
    return root / "w"


@pytest.fixture
def warehouse(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "w")
    return tmp_path / "w"


def config(warehouse: Path, **options: object) -> EffectsConfig:
    values = {"warehouse": warehouse, "classifier": "abc", "workers": 0, "batch_size": 5}
    return EffectsConfig.checked({**values, "shard_size": 9, "check": 7, **options})


def rows(path: Path, name: str) -> np.ndarray:
    """Return a column of head_effects as [head, target]."""
    return np.array(read_result(path)[0][name].to_pylist(), np.float64).reshape(9, -1)


@pytest.mark.parametrize("gradients", [integrated_effects, attributed_effects])
def test_the_tables_are_what_the_model_does(
    warehouse: Path, tiny_config: Path, gradients: Callable[..., torch.Tensor]
) -> None:
    done = effects.run(config(warehouse, first_order=gradients is attributed_effects))
    assert done.path is not None and not done.reused and done.rejects == ()
    assert (done.heads, done.images, done.checked, done.means) == (9, N, 7, N)
    loaded, opened = load_model(str(tiny_config), "none"), open_snapshot(Warehouse(warehouse), None)
    from PIL import Image

    images = opened.images(["image_id", "uri"]).to_pylist()
    pixels = torch.stack([loaded.transform(Image.open(r["uri"]).convert("RGB")) for r in images])
    sums = PositionSums()
    with torch.inference_mode():
        sums.add(token_parts(loaded.tower, pixels, Layers(range(3))))
    weights = torch.tensor(read_classifier(Warehouse(warehouse), opened.scan, "abc").weights)
    targets = class_directions(weights)
    total = (total_effects(loaded.tower, pixels, sums, all_heads(loaded.tower)) @ targets.T).numpy()
    np.testing.assert_allclose(rows(done.path, "total"), total.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(rows(done.path, "abs_total"), abs(total).mean(axis=0), atol=1e-5)
    deviation = total.std(axis=0, ddof=1) / np.sqrt(N)
    np.testing.assert_allclose(rows(done.path, "se_total"), deviation, atol=1e-5)
    # picture by picture, and what is stored of the scan
    table = read_result(done.path.parents[1] / "image_head_effects/abc.parquet")[0]
    stored = np.array(table["total"]).reshape(N, 9, 3)
    np.testing.assert_allclose(stored, total, atol=1e-5)
    direct = np.array(table["direct"]).reshape(N, 9, 3)
    slope = (direct * total).sum(axis=0) / (direct**2).sum(axis=0)
    np.testing.assert_allclose(rows(done.path, "repair"), 1 - slope, rtol=1e-2)
    # the checked pictures alone have atp, and correlate as is said
    atp = np.array(table["atp"].to_numpy(zero_copy_only=False)).reshape(N, 9, 3)
    checked = np.isfinite(atp[:, 0, 0])
    assert checked.sum() == 7
    heads = all_heads(loaded.tower)
    first = gradients(loaded.tower, pixels[checked], sums, heads, targets).detach().numpy()
    np.testing.assert_allclose(atp[checked], first, atol=1e-5)
    for head in range(9):
        expected = np.corrcoef(first[:, head, 1], total[checked, head, 1])[0, 1]
        assert rows(done.path, "atp_r")[head, 1] == pytest.approx(expected, abs=1e-3)
    layer = np.corrcoef(first[:, 3:6].ravel(), total[checked, 3:6].ravel())[0, 1]
    assert done.atp_r[1] == pytest.approx(layer, abs=1e-3)


def test_direct_is_that_of_sql(warehouse: Path) -> None:
    effects.run(config(warehouse))
    from jobs.commands import publish

    publish.run(publish.PublishConfig(warehouse=warehouse))
    asked = (
        "SELECT e.direct, list_dot_product(h.vector, h.vector) AS norm FROM image_head_effects e "
        "JOIN contributions h USING (scan_id, image_id, layer, head) "
        "WHERE e.layer = 1 AND e.head = 2"
    )
    assert len(query(Warehouse(warehouse), asked)) == 3 * N
    # a class logit's part of the head, less its mean, less that of the other classes
    parts = (
        "WITH part AS (SELECT image_id, class, logit - avg(logit) OVER (PARTITION BY class) AS own "
        "FROM head_logits WHERE classifier = 'abc' AND layer = 1 AND head = 2), "
        "names AS (SELECT DISTINCT class, class_name FROM classifiers WHERE classifier = 'abc') "
        "SELECT max(abs(e.direct - (p.own - (t.total - p.own) / 2))) AS off, count(*) AS n "
        "FROM part p JOIN (SELECT image_id, sum(own) AS total FROM part GROUP BY image_id) t "
        "USING (image_id) JOIN names USING (class) JOIN image_head_effects e "
        "ON e.image_id = p.image_id AND e.target = names.class_name "
        "AND e.layer = 1 AND e.head = 2"
    )
    (row,) = query(Warehouse(warehouse), parts).to_pylist()
    assert row["n"] == 3 * N and row["off"] < 1e-3
    shown = query(
        Warehouse(warehouse),
        "SELECT classifier, target, abs_direct, abs_total, repair, se_total, n FROM head_effects "
        "WHERE scan_id = 's' AND layer = 1 AND head = 2",
    ).to_pylist()
    assert {row["classifier"] for row in shown} == {"abc"} and len(shown) == 3


def test_a_rerun_does_what_is_missing_and_other_targets_reuse_the_means(
    warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = effects.run(config(warehouse))
    assert first.path is not None
    before = read_result(first.path)[0]
    assert effects.run(config(warehouse)).reused
    scan_folder = Warehouse(warehouse).scan("s")
    (kept,) = scan_folder.unfinished.iterdir()
    assert kept.name.startswith("means-")
    # the run stops after its first chunk of effects
    from jobs.workers.means import MeansWorker

    whole, calls = EffectsWorker.__call__, []

    def stops(self: EffectsWorker, task: object) -> Path:
        calls.append(task)
        if len(calls) == 2:
            raise UsageError("stopped")
        return whole(self, task)  # type: ignore[arg-type]

    def never(self: MeansWorker, task: object) -> Path:
        raise AssertionError("the means are there")

    monkeypatch.setattr(MeansWorker, "__call__", never)
    monkeypatch.setattr(EffectsWorker, "__call__", stops)
    with pytest.raises(UsageError, match="stopped"):
        effects.run(config(warehouse, restart=True))
    again = effects.run(config(warehouse))
    assert len(calls) == 2 + 2
    assert again.path is not None and read_result(again.path)[0].equals(before)


def test_atp_of_all_pictures_of_some_heads_for_texts(warehouse: Path, tmp_path: Path) -> None:
    texts = tmp_path / "mine.txt"
    texts.write_text("a red bird\n\na blue car\n")
    asked = {"classifier": None, "texts": texts, "method": "atp", "heads": "L0H1,L2H0"}
    done = effects.run(config(warehouse, **asked, gradient_dropout=True, sample=12, check=4))
    assert done.path is not None and done.name == "mine"
    assert (done.images, done.means, done.checked, done.heads) == (12, 12, 4, 2)
    table = read_result(done.path)[0]
    assert table["target"].to_pylist() == ["a red bird", "a blue car"] * 2
    assert table["name"].to_pylist() == ["L0H1", "L0H1", "L2H0", "L2H0"]
    assert set(table["n_atp"].to_pylist()) == {12} and set(table["n_total"].to_pylist()) == {4}
    tables = [table]
    for first_order in (True, False):
        again = effects.run(config(warehouse, **asked, first_order=first_order, sample=12, check=4))
        assert again.path is not None and not again.reused
        tables.append(read_result(again.path)[0])
    for one, other in combinations(tables, 2):
        assert one["total"].equals(other["total"]) and not one["atp"].equals(other["atp"])


def test_a_dry_run_writes_nothing_and_says_the_cost(warehouse: Path) -> None:
    before = sorted(warehouse.rglob("*"))
    exact = 1 + 3 * (1 + 0.6)
    ways = {(): (1 + 3) * (1 + 2), ("first_order",): 1 + 3, ("gradient_dropout",): 1 + 3 * 3}
    for flags, atp in ways.items():
        done = effects.run(config(warehouse, **dict.fromkeys(flags, True)), dry_run=True)
        expected = 2 * N + N * (1 + exact) + 7 * (atp + exact)
        assert done.passes == pytest.approx(expected) and done.path is None
    assert sorted(warehouse.rglob("*")) == before
    asked = ["effects", "--warehouse", str(warehouse), "--classifier", "abc", "--dry-run"]
    said = CliRunner().invoke(program(asked), asked)
    assert said.exit_code == 0 and "forward passes" in said.output
    assert "--method exact takes" not in said.output
    said = CliRunner().invoke(program(asked), [*asked, "--method", "atp"])
    assert said.exit_code == 0
    assert "--method exact takes 5.8 passes a picture here, atp 12.0" in said.output


def test_refusals(warehouse: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither of --classifier and --texts"):
        effects.run(config(warehouse, classifier=None))
    with pytest.raises(UnknownName, match="nope"):
        effects.run(config(warehouse, classifier="nope"))
    with pytest.raises(UsageError, match="no head L9H9"):
        effects.run(config(warehouse, heads="L9H9"))


def test_a_picture_that_is_gone_is_left_out_and_said(warehouse: Path, tmp_path: Path) -> None:
    opened = open_snapshot(Warehouse(warehouse), None)
    uri = Path(opened.images(["uri"])["uri"].to_pylist()[3])
    aside = uri.with_suffix(".aside")
    uri.rename(aside)
    try:
        done = effects.run(config(warehouse))
    finally:
        aside.rename(uri)
    assert done.path is not None and len(done.rejects) == 1
    assert set(read_result(done.path)[0]["n"].to_pylist()) == {N - 1}


def test_a_sample_has_each_label_in_proportion_and_grows_within_itself() -> None:
    labels = ["a"] * 60 + ["b"] * 30 + [None] * 10
    chosen = stratified(labels, 20, seed=3)
    counts = [sum(labels[i] == x for i in chosen.tolist()) for x in ("a", "b", None)]
    assert np.abs(np.array(counts) - [12, 6, 2]).max() <= 1 and len(set(chosen.tolist())) == 20
    assert set(chosen.tolist()) <= set(stratified(labels, 40, seed=3).tolist())
    assert chosen.tolist() != stratified(labels, 20, seed=4).tolist()
    assert len(stratified(labels, 500, seed=3)) == 100


def test_a_resnet_has_no_layers_and_its_pool_s_heads_are_replaced(
    world: Path, tmp_path: Path
) -> None:
    vision = {"layers": [1, 1, 1, 1], "width": 8, "image_size": 64}
    text = {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    path = tmp_path / "resnet.json"
    path.write_text(json.dumps({"embed_dim": 64, "vision_cfg": vision, "text_cfg": text}))
    listing = tmp_path / "listing.csv"
    listing.write_text("\n".join(world.read_text().splitlines()[:7]))
    done = scan.run(scan_config(listing, path, tmp_path / "w", root=str(world.parent), workers=0))
    assert done.images == 6
    named = {"classes": "labels", "templates": "none", "classifier": "abc"}
    zeroshot.run(ZeroShotConfig(warehouse=tmp_path / "w", **named))
    with pytest.raises(UsageError, match="heads in its pool alone"):
        effects.run(config(tmp_path / "w"))
    asked = {"classifier": "abc", "attention": "pool", "total": True, "workers": 0}
    values = {"warehouse": tmp_path / "w", "replace": "zero", "group_by": "label", **asked}
    found = ablate.run(AblateConfig.checked(values))
    assert found.images == 6 and len(found.replaced["heads"]) >= 4


def test_under_ray_the_numbers_are_the_same(warehouse: Path, ray_session: None) -> None:
    here = effects.run(config(warehouse, sample=12, name="here"))
    there = effects.run(config(warehouse, sample=12, name="there", workers=1))
    assert here.path is not None and there.path is not None
    for name in ("total", "atp", "direct", "class_only"):
        np.testing.assert_allclose(rows(there.path, name), rows(here.path, name), atol=1e-6)
    one = edges.run(EdgesConfig(warehouse=warehouse, sample=12, workers=0))
    before = read_result(one.path)[0]["share"].to_numpy()
    again = edges.run(EdgesConfig(warehouse=warehouse, sample=12, workers=1, restart=True))
    found = read_result(again.path)[0]["share"].to_numpy()
    np.testing.assert_allclose(found, before, atol=1e-6)


@pytest.mark.timeout(300)
def test_after_sigkill_the_same_command_goes_on(warehouse: Path) -> None:
    asked = {"shard_size": 1, "check": 3}
    undisturbed = effects.run(config(warehouse, name="whole", **asked))
    assert undisturbed.path is not None
    folder = Warehouse(warehouse).scan("s").unfinished
    options = {"--warehouse": str(warehouse), "--classifier": "abc", "--name": "killed"}
    options |= {"--shard-size": "1", "--check": "3", "--batch-size": "5", "--workers": "0"}
    program_ = "from jobs.cli import main; main()"
    command = [sys.executable, "-c", program_, "effects", *chain(*options.items())]
    process = warm.Program(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def parts() -> list[Path]:
        return [p for p in folder.glob("*/part-*.parquet") if "means" not in p.parent.name]

    try:
        while process.poll() is None and len(parts()) < 2:
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    left = {path: path.stat().st_mtime_ns for path in parts()}
    assert 2 <= len(left) < N
    calls: list[int] = []
    whole = EffectsWorker.__call__

    def counted(self: EffectsWorker, task: Stored) -> Path:
        calls.append(task.start)
        return whole(self, task)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EffectsWorker, "__call__", counted)
        done = effects.run(config(warehouse, name="killed", **asked))
    assert len(calls) == N - len(left)
    assert done.path is not None
    assert read_result(done.path)[0].equals(read_result(undisturbed.path)[0])
