"""`headatlas pairs` and `texts --grid`: their tables against what is computed from the files."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from jobs.commands import pairs, publish, texts
from jobs.commands.pairs import PairsConfig
from jobs.commands.texts import TextsConfig
from pipeline.heads.factors import factor_shares
from pipeline.heads.stored_frames import load_frames
from pipeline.towers.models import load_model
from schemas.errors import UnknownName, UsageError
from tests.jobs.test_effects_job import N, made
from warehouse.database.query import query
from warehouse.files.layout import Warehouse
from warehouse.results.files import read_result
from warehouse.store.opened import open_snapshot
from warehouse.store.reading import matrix, read_layer

__all__ = ["made"]


@pytest.fixture(scope="module")
def measured(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a warehouse with pairs by label and a grid, published; do not write to it."""
    root = tmp_path_factory.mktemp("pairs") / "w"
    shutil.copytree(made, root)
    done = pairs.run(PairsConfig(column="label", warehouse=root, template="a photo of a {}"))
    assert (done.name, done.pairs, done.without, done.reused) == ("label", N, 0, False)
    values = ("colour=red,green,blue", "noun=car,duck")
    grid = TextsConfig(
        grid="a {colour} {noun}", values=values, name="cars", warehouse=root, batch_size=4
    )
    assert texts.run(grid).texts == 6 and texts.run(grid).reused
    publish.run(publish.PublishConfig(warehouse=root))
    return root


def test_pairs_are_those_of_the_files_and_sum_to_the_cosine(
    measured: Path, tiny_config: Path
) -> None:
    w = Warehouse(measured)
    opened, loaded = open_snapshot(w, None), load_model(str(tiny_config), "none")
    frames = load_frames(opened.scan.frames, opened.record.frames_sha256)
    images = opened.images(["label", "embedding"])
    prompts = [f"a photo of a {label}" for label in images["label"].to_pylist()]
    text = loaded.encode_text(prompts).numpy().astype(np.float64)
    cosine = (matrix(images["embedding"]).astype(np.float64) * text).sum(axis=1)
    table = query(w, "SELECT * FROM head_pairs").to_pylist()
    assert sum(row["mean"] for row in table) == pytest.approx(cosine.mean(), abs=1e-6)
    assert sum(row["share"] for row in table) == pytest.approx(1, abs=1e-10)
    said = read_result(opened.scan.results("head_pairs") / "label.parquet")[1]
    assert sum(row["mean"] for row in table) == pytest.approx(said["cosine"], abs=1e-12)
    # one image head against the whole text, from the stored vectors
    vectors = [read_layer(opened.scan, shard, 2).vectors[1] for shard in opened.shards]
    c = np.concatenate(vectors).astype(np.float64) @ frames.of(2)[1].T
    part = (c * text).sum(axis=1)
    own = [r for r in table if (r["image_layer"], r["image_head"]) == (2, 1)]
    assert sum(r["mean"] for r in own) == pytest.approx(part.mean(), abs=1e-6)
    share = ((cosine - cosine.mean()) * part).sum() / ((cosine - cosine.mean()) ** 2).sum()
    assert sum(r["share"] for r in own) == pytest.approx(share, abs=1e-4)
    kinds = {(row["image_kind"], row["text_kind"]) for row in table}
    assert {image for image, _ in kinds} == {"head", "bias", "const", "rest"}
    assert {of for _, of in kinds} == {"head", "mlp", "bias", "init", "const", "rest"}
    top = query(w, "SELECT name, share FROM pairs_of('L2H1', k := 2)").to_pylist()
    assert [row["share"] for row in top] == sorted((r["share"] for r in own), reverse=True)[:2]


def test_pairs_go_on_with_what_is_current_and_say_what_is_wrong(measured: Path) -> None:
    again = PairsConfig(column="label", warehouse=measured, template="a photo of a {}")
    assert pairs.run(again).reused
    with pytest.raises(UnknownName, match="'hue'"):
        pairs.run(PairsConfig(column="hue", warehouse=measured))
    with pytest.raises(UsageError, match="expected templates with one"):
        pairs.run(PairsConfig(column="label", warehouse=measured, template="a photo"))


def test_few_texts_at_a_time_give_the_same(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(measured, tmp_path / "w")
    monkeypatch.setattr("jobs.steps.pairs._HELD", 1)
    monkeypatch.setattr("jobs.steps.pairs._KEPT", 1)
    config = PairsConfig(
        column="label", warehouse=tmp_path / "w", template="a photo of a {}", name="slow"
    )
    found = read_result(pairs.run(config).path)[0]
    whole = read_result(Warehouse(measured).scan("s").results("head_pairs") / "label.parquet")[0]
    for name in ("mean", "share"):
        np.testing.assert_allclose(found[name].to_numpy(), whole[name].to_numpy(), atol=1e-6)


def test_a_grid_is_the_analysis_of_variance_of_its_heads(measured: Path, tiny_config: Path) -> None:
    loaded = load_model(str(tiny_config), "none")
    words = [f"a {c} {n}" for c in ("red", "green", "blue") for n in ("car", "duck")]
    own = factor_shares(loaded.encode_text(words).numpy().reshape(3, 2, -1), ["colour", "noun"])
    rows = query(Warehouse(measured), "SELECT * FROM text_head_words").to_pylist()
    assert {row["grid"] for row in rows} == {"cars"} and {row["n"] for row in rows} == {6}
    whole = {row["effect"]: row["share"] for row in rows if row["name"] == "embedding"}
    assert whole == pytest.approx({" x ".join(of): share for of, share in own.items()}, abs=1e-5)
    for name in ("L0H0", "L0H1", "embedding"):
        assert sum(r["share"] for r in rows if r["name"] == name) == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "got neither of a pool and --grid"),
        ({"pool": "x", "grid": "a {b}"}, "got both"),
        ({"grid": "a {b}", "words": True}, "--words splits a pool's texts"),
        ({"pool": "x", "name": "y"}, "are of --grid"),
    ],
)
def test_options_that_do_not_go_together(
    options: dict[str, object], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=words):
        texts.run(TextsConfig.checked({"warehouse": tmp_path, **options}))
