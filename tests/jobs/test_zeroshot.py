"""Classifiers from class names: prompts, stored logits, and that their parts sum up."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jobs.commands import spurious, zeroshot
from jobs.commands.spurious import SpuriousConfig
from jobs.commands.zeroshot import ZeroShotConfig
from jobs.steps import logits as jobs_logits
from jobs.steps.logits import store_logits
from jobs.steps.opened import opened
from pipeline.texts.class_weights import class_weights
from pipeline.texts.zeroshot import openai_templates, parse_classes, parse_templates
from pipeline.towers.models import load_model
from schemas.config import split_names
from schemas.errors import UnknownName, UsageError
from schemas.names import parse_head
from schemas.results.head_logits import HEAD_LOGITS
from schemas.results.image_logits import IMAGE_LOGITS
from schemas.results.spurious_heads import SPURIOUS_HEADS
from tests.cue import CHEAT, SHAPE, Planted, plant
from warehouse.files.layout import Warehouse
from warehouse.results.classifiers import classifier_path, read_classifier
from warehouse.results.files import read_result
from warehouse.store import snapshots


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    planted = plant(tmp_path_factory.mktemp("zeroshot"))
    snapshot = snapshots.latest(planted.scan)
    assert snapshot is not None
    stored = store_logits(opened(planted.scan, snapshot), planted.classifier, ("label", "place"))
    assert stored.head_logits
    assert sum(row.n for row in stored.by_group.rows()) == len(planted.y)
    return planted


def test_openai_templates_are_eighty_and_end_with_the_origami() -> None:
    templates = openai_templates()
    assert len(templates) == 80
    assert all(t.count("{}") == 1 for t in templates)


def test_class_weights_are_the_normalised_mean_of_unit_prompts() -> None:
    rng = np.random.default_rng(0)
    table = {}

    def encode(texts: list[str]) -> torch.Tensor:
        for text in texts:
            table.setdefault(text, rng.standard_normal(6).astype(np.float32))
        rows = torch.from_numpy(np.stack([table[text] for text in texts]))
        return torch.nn.functional.normalize(rows, dim=-1)

    found = class_weights(encode, ["cat", "dog {x}"], ("a {}.", "the {}."))
    assert set(table) == {"a cat.", "the cat.", "a dog {x}.", "the dog {x}."}
    unit = [table[t] / np.linalg.norm(table[t]) for t in ("a cat.", "the cat.")]
    mean = np.mean(unit, axis=0)
    np.testing.assert_allclose(found[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_classes_and_templates_from_lines() -> None:
    found = parse_classes(["0\tland bird", "", "1\twater bird\r\n"], "f")
    assert found.labels == ("0", "1")
    assert found.names == ("land bird", "water bird")
    assert parse_classes(["cat", "dog"], "f").names == ("cat", "dog")
    assert parse_templates(["a {}.", " the {}. "], "f") == ("a {}.", "the {}.")
    with pytest.raises(UsageError, match="1 class;"):
        parse_classes(["cat"], "f")
    with pytest.raises(UsageError, match="'cat' occurs twice"):
        parse_classes(["cat", "cat"], "f")
    with pytest.raises(UsageError, match=r"one \{\} each"):
        parse_templates(["a photo"], "f")
    with pytest.raises(UsageError, match="got no line"):
        parse_templates([""], "f")


@given(st.lists(st.text("abc", min_size=1), max_size=5))
def test_names_split_at_commas(names: list[str]) -> None:
    assert split_names(",".join(names)) == tuple(names)
    assert split_names([",".join(names), "z"]) == (*names, "z")


def test_heads_and_rest_sum_to_the_image_logit(birds: Planted) -> None:
    images, said = read_result(classifier_path(birds.scan, "kinds", IMAGE_LOGITS))
    parts, _ = read_result(classifier_path(birds.scan, "kinds", HEAD_LOGITS))
    assert said["snapshot"] == 1
    heads = np.array(parts["heads"].to_pylist())
    assert heads.shape == (2 * len(birds.y), len(SHAPE.layers) * SHAPE.n_heads)
    logit = (birds.embedding @ birds.classifier.weights.T).reshape(-1)
    np.testing.assert_allclose(heads.sum(axis=1) + parts["rest"].to_numpy(), logit, atol=1e-5)
    np.testing.assert_allclose(images["logit"].to_numpy(), logit, atol=1e-6)
    np.testing.assert_array_equal(images["class"].to_numpy(), np.tile([0, 1], len(birds.y)))
    truth = np.stack([birds.y == 0, birds.y == 1], axis=1).reshape(-1)
    np.testing.assert_array_equal(images["truth"].to_numpy(zero_copy_only=False), truth)


def test_head_means_are_means_of_head_logits(birds: Planted) -> None:
    table, _ = read_result(classifier_path(birds.scan, "kinds"))
    parts, _ = read_result(classifier_path(birds.scan, "kinds", HEAD_LOGITS))
    heads = np.array(parts["heads"].to_pylist()).reshape(len(birds.y), 2, -1)
    np.testing.assert_allclose(
        np.array(table["head_means"].to_pylist()), heads.mean(axis=0), atol=1e-6
    )
    found = read_classifier(Warehouse(birds.root), birds.scan, "kinds")
    assert found.labels == ("0", "1")
    np.testing.assert_array_equal(found.weights, birds.classifier.weights)


def test_too_many_logits_are_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = plant(tmp_path, pictures=60)
    monkeypatch.setattr(jobs_logits, "MOST_LOGITS", 130)
    snapshot = snapshots.latest(planted.scan)
    assert snapshot is not None
    stored = store_logits(opened(planted.scan, snapshot), planted.classifier)
    assert not stored.head_logits
    assert not classifier_path(planted.scan, "kinds", HEAD_LOGITS).exists()
    assert classifier_path(planted.scan, "kinds", IMAGE_LOGITS).exists()
    assert "headatlas ablate reads the contributions instead" in capsys.readouterr().err


@pytest.fixture(scope="module")
def modelled(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """A scan whose record names a small CLIP with random weights, so that texts can be encoded."""
    root = tmp_path_factory.mktemp("modelled")
    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    vision = {"layers": 3, "width": 24, "head_width": 6, "patch_size": 8, "image_size": 16}
    path = root / "tiny-joint-16.json"
    path.write_text(
        json.dumps({"embed_dim": SHAPE.d_joint, "vision_cfg": vision, "text_cfg": text})
    )
    planted = plant(root / "warehouse")
    record = planted.scan.load_record()
    loaded = load_model(str(path), "none")
    model = record.model.model_copy(update={"weights_sha256": loaded.record.weights_sha256})
    planted.scan.save_record(record.model_copy(update={"model": model, "model_path": str(path)}))
    return planted


def test_zeroshot_by_labels_and_by_file(modelled: Planted, tmp_path: Path) -> None:
    options = {"warehouse": modelled.root, "group_by": "label,place"}
    done = zeroshot.run(ZeroShotConfig.checked({"classes": "labels", **options}))
    assert (done.classifier, done.classes, done.images) == ("labels", 2, len(modelled.y))
    assert done.accuracy is not None
    assert len(done.by_group) == 4
    assert sum(row.n for row in done.by_class) == len(modelled.y)

    file = tmp_path / "places.txt"
    file.write_text("0\tland\n1\twater\n")
    config = {"classes": str(file), "label_column": "place", "templates": "none", **options}
    done = zeroshot.run(ZeroShotConfig.checked(config))
    found = read_classifier(Warehouse(modelled.root), modelled.scan, "places")
    assert (done.classifier, found.names, found.label_column) == (
        "places",
        ("land", "water"),
        "place",
    )
    np.testing.assert_allclose(np.linalg.norm(found.weights, axis=1), 1, atol=1e-5)

    config |= {"classes": "0=land, 1=water"}
    written_out = zeroshot.run(ZeroShotConfig.checked(config))
    same = read_classifier(Warehouse(modelled.root), modelled.scan, written_out.classifier)
    assert (same.names, same.labels) == (found.names, found.labels)
    np.testing.assert_array_equal(same.weights, found.weights)


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"classes": "nowhere.txt"}, UsageError, "expected a text file or labels"),
        ({"classes": "labels", "templates": "nowhere"}, UsageError, "openai, none"),
        ({"classes": "labels", "label_column": "kind"}, UnknownName, "label, place, split, y"),
        ({"classes": "labels", "scan": "other"}, UnknownName, "birds"),
        ({"classes": "labels", "classifier": "a/b"}, UsageError, "try 'a-b'"),
    ],
)
def test_wrong_input_is_one_line(
    modelled: Planted, options: dict[str, str], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words) as caught:
        zeroshot.run(ZeroShotConfig.checked({"warehouse": modelled.root, **options}))
    assert "\n" not in str(caught.value)


def test_spurious_finds_the_planted_head_and_stores_rows(birds: Planted) -> None:
    config = {"warehouse": birds.root, "classifier": "kinds", "attribute": "place", "control": 3}
    done = spurious.run(SpuriousConfig.checked(config))
    (outcome,) = done.outcomes
    assert outcome.heads[0] == f"L{CHEAT[0]}H{CHEAT[1]}" == done.heads[0].name
    assert outcome.worst.after > outcome.worst.before + 0.5
    assert outcome.worst.control_mean == pytest.approx(outcome.worst.before, abs=0.1)
    assert outcome.total.n == (birds.split == 2).sum()
    rows, said = read_result(birds.scan.results(SPURIOUS_HEADS) / "kinds-place.parquet")
    assert rows.num_rows == len(SHAPE.layers) * SHAPE.n_heads
    assert rows["rank"].to_pylist() == list(range(rows.num_rows))
    chosen = rows.filter(rows["chosen"]).to_pylist()
    assert {f"L{row['layer']}H{row['head']}" for row in chosen} == set(outcome.heads)
    assert said["attribute"] == "place"


def test_margin_contrast_finds_it_too_and_stands_beside_the_other_search(birds: Planted) -> None:
    config = {"warehouse": birds.root, "classifier": "kinds", "attribute": "place", "control": 3}
    done = spurious.run(SpuriousConfig.checked({**config, "search": "margin-contrast"}))
    (outcome,) = done.outcomes
    assert done.heads[0].name == outcome.heads[0] == f"L{CHEAT[0]}H{CHEAT[1]}"
    assert sum(head.score for head in done.heads) == pytest.approx(1)
    assert outcome.worst.after > outcome.worst.before + 0.5
    assert done.path.stem == "kinds-place-margin-contrast" and done.total == {}


def test_means_are_of_the_select_pictures_alone(birds: Planted) -> None:
    config = {"warehouse": birds.root, "classifier": "kinds", "attribute": "place", "control": 0}
    (found,) = spurious.run(SpuriousConfig.checked(config)).outcomes
    weights, chosen = birds.classifier.weights, [parse_head(name) for name in found.heads]
    test, select = birds.split == 2, birds.split == 1
    logits = birds.embedding[test] @ weights.T
    for layer, head in chosen:
        own = birds.vectors[layer][head].astype(np.float64)
        gap = own[test] - own[select].mean(axis=0)
        logits = logits - gap @ birds.frames.of(layer)[head].T @ weights.T
    assert found.total.after == pytest.approx((logits.argmax(axis=1) == birds.y[test]).mean())


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"attribute": "colour"}, UnknownName, "place"),
        ({"attribute": "label"}, UsageError, "is the target"),
        ({"select": "split=7"}, UsageError, r"has split=7; split is \d \(\d+\), "),
        ({"attribute": "split"}, UsageError, "is '1' in all"),
        ({"role": "place"}, UnknownName, "none yet"),
        ({"classifier": ""}, UsageError, "give --classifier NAME .* or --classes"),
    ],
)
def test_wrong_questions_about_cues_are_one_line(
    birds: Planted, options: dict[str, str], kind: type[Exception], words: str
) -> None:
    values = {"warehouse": birds.root, "classifier": "kinds", "attribute": "place", **options}
    with pytest.raises(kind, match=words) as caught:
        spurious.run(SpuriousConfig.checked(values))
    assert "\n" not in str(caught.value)
