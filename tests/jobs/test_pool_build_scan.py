"""Pools that look at a scan: grounded in its labels or captions, cleaned by its text encoder."""

import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from llm_server import Script, serving

from jobs import cli
from jobs.commands.pool.build import PoolBuildConfig, run
from jobs.steps.models import load_for
from pipeline.towers.models import LoadedModel
from schemas.errors import LanguageModelError, UnknownName, UsageError
from warehouse.files.layout import Warehouse
from warehouse.store import snapshots
from warehouse.store.columns import column
from warehouse.store.pools import read_pool
from warehouse.store.reading import read_images

LONG = "a very long description of a red bird that goes on and on " * 3
ANIMALS = ("duck", "swan", "owl", "parrot", "cat", "rabbit", "fish", "crab", "whale", "giraffe")


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-1234")


@pytest.fixture
def root(scanned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scanned, tmp_path / "w", symlinks=True))


@pytest.fixture
def model(root: Path) -> LoadedModel:
    return load_for(Warehouse(root).scan("s").load_record())


def config(root: Path, url: str, **options: object) -> PoolBuildConfig:
    given = {
        "warehouse": root,
        "llm": "tiny",
        "base_url": url,
        "name": "made",
        "properties": ("colour", "place"),
        "per_property": 0,
        "near": 1,
        **options,
    }
    return PoolBuildConfig.checked(given)


def call(root: Path, url: str, *options: str) -> None:
    """Build a pool by the command line; it exits."""
    given = ("--warehouse", str(root), "--llm", "tiny", "--base-url", url, *options)
    cli.main(["pool", "build", "made", *given])


def values(root: Path, name: str) -> Counter[str]:
    scan, snapshot = snapshots.open_scan(Warehouse(root), None)
    rows = read_images(scan, [live.shard for live in snapshot.shards], ["label", "metadata"])
    return Counter(value for value in column(rows, name) if value)


def listed(question: str) -> list[str]:
    """Return the labels or captions that a question shows."""
    return re.findall(r"^- (.*)$", question, re.M)


def echo(question: str) -> dict[str, object]:
    """Answer with one description per value shown, so that the pool tells what was shown."""
    return {"items": [{"text": f"like {v}", "property": "Its Kind"} for v in listed(question)]}


@pytest.mark.parametrize(("name", "least"), [("label", 30), ("caption", 150), ("background", 8)])
def test_a_grounded_pool_is_asked_for_with_the_commonest_values_of_the_column(
    root: Path, name: str, least: int
) -> None:
    counted = values(root, name)
    most = min(len(counted), 60)
    asked: list[str] = []

    def answer(question: str) -> dict[str, object]:
        asked.append(question)
        return echo(question)

    with serving(Script(answer)) as url:
        done = run(config(root, url, from_labels=name, most_labels=most))
        again = run(config(root, url, from_labels=name, most_labels=most))
    assert len(counted) >= least
    shown = [listed(question) for question in asked]
    assert sorted(map(len, shown)) == sorted(min(40, most - start) for start in range(0, most, 40))
    expected = sorted(counted, key=lambda v: (-counted[v], v))[:most]
    assert sorted(v for values in shown for v in values) == sorted(expected)
    pool = read_pool(Warehouse(root), "made")
    assert list(pool.texts) == [f"like {v}" for v in expected]
    assert set(pool.properties) == {"its_kind"}
    assert (done.counts.paid, again.counts.paid) == (len(asked), 0)
    assert pool.provenance["options"]["from_labels"] == name


def test_a_column_that_is_not_there_or_empty_is_said(root: Path, tmp_path: Path) -> None:
    with serving(Script(echo)) as url:
        with pytest.raises(UnknownName, match="column of scan 's' called 'colr'; there is"):
            run(config(root, url, from_labels="colr"))
        with pytest.raises(UsageError, match="no picture of scan s has a value"):
            run(config(root, url, from_labels="bird", per_property=40))
        with pytest.raises(UsageError, match="no finished scan"):
            run(config(tmp_path / "empty", url, from_labels="label"))


def test_texts_over_the_context_and_near_duplicates_are_left_out_and_counted(
    root: Path, model: LoadedModel, capsys: pytest.CaptureFixture[str]
) -> None:
    said = [f"a {animal}" for animal in ANIMALS] + [LONG, f"{LONG} again", "a duck.", " "]
    units = model.encode_text(said[: len(ANIMALS)]).numpy()
    cosines = (units @ units.T)[np.triu_indices(len(units), 1)]
    near = float(np.sort(cosines)[-3:-1].mean())
    items = [{"text": text, "property": "animal"} for text in said]
    with serving(Script(lambda question: {"items": items})) as url, pytest.raises(SystemExit):
        call(root, url, "--properties", "animal", "--per-property", "10", "--near", repr(near))
    report = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    pool = read_pool(Warehouse(root), "made")
    kept = model.encode_text(list(pool.texts)).numpy()
    assert (np.triu(kept @ kept.T, 1) < near).all()
    dropped = set(said[: len(ANIMALS)]) - set(pool.texts)
    assert 1 <= len(dropped) <= 2
    for text in dropped:
        earlier = [i for i, other in enumerate(said) if other in pool.texts]
        cosine = units[[i for i in earlier if i < said.index(text)]] @ units[said.index(text)]
        assert cosine.max() >= near
    assert int(report["descriptions"]) == len(pool.texts) == len(ANIMALS) - len(dropped)
    assert int(report["nearly repeated"]) == len(dropped)
    assert int(report["too long for the model"]) == 2
    assert int(report["repeated"]) >= 1
    assert int(report["empty"]) >= 1
    left_out = pool.provenance["left_out"]
    assert (left_out["near_duplicates"], left_out["too_long"]) == (len(dropped), 2)


def test_a_pool_of_nothing_but_long_texts_is_refused_and_the_old_one_stays(root: Path) -> None:
    items = [{"text": LONG, "property": "colour"}]
    with serving(Script(echo)) as url:
        run(config(root, url, from_labels="background"))
    before = read_pool(Warehouse(root), "made")
    with (
        serving(Script(lambda question: {"items": items})) as url,
        pytest.raises(LanguageModelError, match="longer than"),
    ):
        run(config(root, url, per_property=1))
    assert read_pool(Warehouse(root), "made") == before


def test_a_text_fits_up_to_the_last_place_of_the_context(model: LoadedModel) -> None:
    # a start, an end, and a token per word
    room = model.clip.context_length - 2
    texts = [" ".join(["cat"] * count) for count in (1, room - 1, room, room + 1, room + 9)]
    assert model.fits(texts).tolist() == [True, True, True, False, False]
    assert model.fits([]).shape == (0,)


def test_what_fits_does_not_depend_on_what_pads(model: LoadedModel) -> None:
    def padded(texts: list[str], context_length: int = 6) -> torch.Tensor:
        found = torch.ones(len(texts), context_length, dtype=torch.long)
        for row, text in zip(found, texts, strict=True):
            tokens = [7, *map(len, text.split())][: context_length - 1]
            row[: len(tokens) + 1] = torch.tensor([*tokens, 8])
        return found

    other = LoadedModel(
        model.clip, model.transform, padded, model.record, model.device, model.dtype
    )
    assert other.fits(["a b", "a b c d", "a b c d e"]).tolist() == [True, True, False]


def test_the_dry_run_counts_the_questions_about_the_pictures(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(echo)
    with serving(script) as url, pytest.raises(SystemExit) as stopped:
        call(root, url, "--per-property", "0", "--from-labels", "caption", "--dry-run")
    assert not stopped.value.code
    assert not script.forms
    report = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert int(report["questions"]) == -(-len(values(root, "caption")) // 40)
    assert int(report["answered by earlier runs"]) == 0
