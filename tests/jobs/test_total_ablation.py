"""`headatlas ablate --total`: accuracies, their table, resumption, refusals."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from jobs.cli import program
from jobs.commands import ablate, publish, zeroshot
from jobs.commands.ablate import AblateConfig, AblateResult, TotalResult
from jobs.commands.zeroshot import ZeroShotConfig
from jobs.steps.layer_matched import layer_matched_sets
from jobs.workers.means import MeansWorker
from jobs.workers.replaced import ReplacedWorker
from pipeline.heads.decompose import Decomposer
from pipeline.heads.frames import head_frames
from pipeline.heads.position_means import PositionSums, parts_of
from pipeline.heads.replaced import Case, Replacing, direct, layers_of
from pipeline.towers.models import load_model
from schemas.errors import UsageError
from tests.jobs.test_effects_job import N, made
from warehouse.database.query import query
from warehouse.files.layout import Warehouse
from warehouse.results.classifiers import read_classifier
from warehouse.results.files import read_result
from warehouse.store.columns import truth
from warehouse.store.opened import open_snapshot

__all__ = ["made"]


COLOURS = ("blue", "green", "orange", "pink", "purple", "red", "white", "yellow")


@pytest.fixture(scope="module")
def coloured(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a warehouse with a classifier of the pictures' colours."""
    root = tmp_path_factory.mktemp("coloured") / "w"
    shutil.copytree(made, root)
    classes = ",".join(f"{name}={name}" for name in COLOURS)
    options = {"classes": classes, "label_column": "colour", "templates": "none"}
    zeroshot.run(ZeroShotConfig(warehouse=root, classifier="hues", **options))
    return root


@pytest.fixture
def warehouse(coloured: Path, tmp_path: Path) -> Path:
    shutil.copytree(coloured, tmp_path / "w")
    return tmp_path / "w"


def total(warehouse: Path, **options: object) -> TotalResult:
    values = {"warehouse": warehouse, "classifier": "hues", "total": True, "workers": 0}
    found = ablate.run(
        AblateConfig.checked({**values, "batch_size": 5, "shard_size": 9, "control": 3, **options})
    )
    assert isinstance(found, TotalResult)
    return found


def test_a_picture_that_is_gone_is_left_out_of_means_and_cases_and_said(warehouse: Path) -> None:
    uri = Path(open_snapshot(Warehouse(warehouse), None).images(["uri"])["uri"].to_pylist()[3])
    aside = uri.with_suffix(".aside")
    uri.rename(aside)
    try:
        done = total(warehouse, heads="L0H1", mlps="1")
    finally:
        aside.rename(uri)
    assert done.images == N - 1
    assert [Path(key).name for key, _ in done.rejects] == [uri.name]


def test_what_is_predicted_is_what_the_model_does(warehouse: Path, tiny_config: Path) -> None:
    done = total(warehouse, heads="L0H1,L2H0,L2H2", mlps="1-2", cls="last:1", group_by="colour")
    assert not done.reused and done.rejects == () and done.images == N
    assert list(done.replaced) == ["nothing", "heads", "mlps", "cls", "joint"]
    assert done.replaced["joint"] == (*("L0H1", "L2H0", "L2H2"), "MLP 1", "MLP 2", "CLS 2")
    assert len(done.control) == 3
    loaded, opened = load_model(str(tiny_config), "none"), open_snapshot(Warehouse(warehouse), None)
    rows = opened.images()
    pixels = torch.stack(
        [loaded.transform(Image.open(u).convert("RGB")) for u in rows["uri"].to_pylist()]
    )
    heads, mlps, cls = (
        Case({0: (1,), 2: (0, 2)}),
        Case(mlps=frozenset({1, 2})),
        Case(cls=frozenset({2})),
    )
    drawn = layer_matched_sets([(0, 1), (2, 0), (2, 2)], {0: 3, 2: 3}, 3, 0)
    random = [
        Case({0: tuple(h for n, h in d if n == 0), 2: tuple(h for n, h in d if n == 2)})
        for d in drawn
    ]
    cases = [Case(), heads, mlps, cls, heads.joined(mlps).joined(cls), *random]
    decomposer = Decomposer(loaded.tower, head_frames(loaded.tower, (0, 2)), mlp=True)
    parts, whole = parts_of(decomposer, pixels, layers_of(cases))
    sums = PositionSums()
    sums.add(parts)
    classifier = read_classifier(Warehouse(warehouse), opened.scan, "hues")
    weights, own = torch.tensor(classifier.weights), truth(rows, "colour", classifier.labels)
    ends = (
        direct(decomposer, parts, whole, sums, cases),
        Replacing(loaded.tower, sums).total(pixels, cases),
    )
    expected = [(e @ weights.T).argmax(dim=-1).numpy() for e in ends]
    table = read_result(done.path)[0]
    for name, classes in zip(("direct", "total"), expected, strict=True):
        assert np.array_equal(table[name].to_numpy().reshape(len(cases), N), classes)
    shares = [(c == own).mean(axis=1) for c in expected]
    for at, what in enumerate(done.replaced):
        found = [row for row in done.rows if row.replaced == what]
        if what == "nothing":
            assert found == []
            continue
        (everything,) = (row for row in found if row.of == "all")
        assert everything.n == N
        assert everything.before == pytest.approx(shares[1][0])
        assert everything.direct == pytest.approx(shares[0][at])
        assert everything.total == pytest.approx(shares[1][at])
        groups = [row for row in found if row.of == "group"]
        there = sorted({COLOURS[i] for i in own.tolist()})
        assert [row.group for row in groups] == [(name,) for name in there]
        (worst,) = (row for row in found if row.of == "worst")
        assert worst.total == min(row.total for row in groups)
        if what == "heads":
            assert everything.control_mean == pytest.approx(shares[1][5:].mean())
            assert everything.control_sd == pytest.approx(shares[1][5:].std(ddof=1))
        else:
            assert everything.control_mean is None
    publish.run(publish.PublishConfig(warehouse=warehouse))
    asked = (
        "SELECT avg((total = class)::INTEGER) AS share FROM image_ablations "
        "WHERE replaced = 'joint'"
    )
    (row,) = query(Warehouse(warehouse), asked).to_pylist()
    assert row["share"] == pytest.approx(shares[1][4])


def test_direct_is_what_the_stored_vectors_say_and_zero_is_zero(warehouse: Path) -> None:
    options = {"heads": "L1H1,L2H0", "group_by": "colour"}
    stored = ablate.run(
        AblateConfig.checked({"warehouse": warehouse, "classifier": "hues", **options})
    )
    assert isinstance(stored, AblateResult)
    done = total(warehouse, **options)
    found = {row.group: row for row in done.rows if row.of == "group"}
    for group in stored.groups:
        assert found[group.group].direct == pytest.approx(group.after, abs=1 / group.n)
        assert found[group.group].before == group.before
    # heads of the last layer of a class-token tower: class and all are one, and zero is another
    last = {at: total(warehouse, heads="L2H0,L2H1", at=at) for at in ("all", "class")}
    assert [r.total for r in last["all"].rows] == [r.total for r in last["class"].rows]
    names = {at: total(warehouse, heads="L0H0", at=at).name for at in ("all", "class")}
    assert names == {"all": "hues-L0H0-mean-all", "class": "hues-L0H0-mean-class"}


def test_zero_needs_no_means_and_all_heads_of_all_layers_have_no_control(
    warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(self: MeansWorker, task: object) -> Path:
        raise AssertionError("no means are needed")

    monkeypatch.setattr(MeansWorker, "__call__", never)
    done = total(warehouse, attention="all", replace="zero")
    assert len(done.replaced["heads"]) == 9 and done.control == ()


def test_a_rerun_does_what_is_missing_and_another_grouping_runs_nothing(
    warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = total(warehouse, heads="L0H1")
    whole, calls = ReplacedWorker.__call__, []

    def stops(self: ReplacedWorker, task: object) -> Path:
        calls.append(task)
        if len(calls) == 2:
            raise UsageError("stopped")
        return whole(self, task)  # type: ignore[arg-type]

    monkeypatch.setattr(ReplacedWorker, "__call__", stops)
    grouped = total(warehouse, heads="L0H1", group_by="colour")
    assert grouped.reused and len(calls) == 0 and len(grouped.rows) > 3
    with pytest.raises(UsageError, match="stopped"):
        total(warehouse, heads="L0H1", restart=True)
    again = total(warehouse, heads="L0H1")
    assert len(calls) == 2 + 2 and again.rows == before.rows
    # a sample, pictures of one label alone, and means of those are other results
    for more in (
        {"sample": 12},
        {"where": "colour=red"},
        {"means": "colour=blue"},
        {"replace": "zero"},
    ):
        other = total(warehouse, heads="L0H1", **more)
        assert not other.reused
    assert total(warehouse, heads="L0H1", sample=12, group_by="colour").images == 12


def test_random_heads_are_of_the_same_layers() -> None:
    chosen = [(0, 1), (0, 2), (3, 0)]
    sets = layer_matched_sets(chosen, {0: 12, 3: 12}, 40, seed=1)
    assert len(sets) == 40 and {len(heads) for heads in sets} == {3}
    assert all([n for n, _ in heads] == [0, 0, 3] for heads in sets)
    assert not any(set(heads) & set(chosen) for heads in sets)
    assert sets == layer_matched_sets(chosen, {0: 12, 3: 12}, 40, seed=1)
    assert sets != layer_matched_sets(chosen, {0: 12, 3: 12}, 40, seed=2)
    # where most of a layer is chosen, they are drawn among all of it
    most = layer_matched_sets([(0, 0), (0, 1)], {0: 3}, 20, seed=0)
    assert {h for heads in most for _, h in heads} == {0, 1, 2}
    assert layer_matched_sets([(0, 0), (0, 1)], {0: 2}, 20, seed=0) == []


def test_refusals(warehouse: Path) -> None:
    for options, words in (
        ({}, "nothing to replace"),
        ({"heads": "L0H9"}, "no head L0H9"),
        ({"mlps": "7"}, "layers '7': this model has layers 0 to 2"),
        ({"heads": "L0H0", "sweep": True}, "--sweep says nothing with --total"),
        ({"heads": "L0H0", "total": False, "mlps": "all"}, "--mlps says nothing without --total"),
        (
            {"heads": "L0H0", "where": "colour=zebra"},
            r"no picture of scan 's' with colour=zebra; colour is \w+ \(\d+\), ",
        ),
        ({"heads": "L0H0", "means": "colour=rde"}, r"has colour=rde; colour is .*did you mean red"),
    ):
        with pytest.raises(UsageError, match=words):
            total(warehouse, **options)


def test_the_command_says_it_and_publishes(warehouse: Path) -> None:
    asked = ["ablate", "--warehouse", str(warehouse), "--classifier", "hues", "--heads", "L0H1"]
    more = ["--total", "--workers", "0", "--group-by", "colour", "--control", "2"]
    said = CliRunner().invoke(program([*asked, *more]), [*asked, *more])
    assert said.exit_code == 0, said.output
    for words in ("random heads, total", "worst", "hues-L0H1-mean-all of s"):
        assert words in said.output
    assert len(query(Warehouse(warehouse), "SELECT DISTINCT ablation FROM image_ablations")) == 1
    # what is stored already is asked without writing anything
    plain = CliRunner().invoke(program(asked), asked)
    assert plain.exit_code == 0 and "published" not in plain.output
