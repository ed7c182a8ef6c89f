"""Mean-ablation, choosing heads, and streamed ablation against literal computations."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.commands.ablate import AblateConfig, run, run_sweep
from jobs.steps.ablated import open_scene
from jobs.steps.logits import store_logits
from jobs.steps.opened import opened
from jobs.steps.whatif import ablate_sets, means_over
from pipeline.heads.ablation import (
    ablate,
    attribute_against_target,
    choose_greedily,
    group_accuracy,
    head_logits,
    project,
)
from schemas.errors import UnknownName, UsageError
from tests.cue import CHEAT, SHAPE, Planted, plant, recomputed
from warehouse.files.layout import Warehouse
from warehouse.results.classifiers import Classifier
from warehouse.store import snapshots

ALL = [(layer, head) for layer in SHAPE.layers for head in range(SHAPE.n_heads)]


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    planted = plant(tmp_path_factory.mktemp("ablate"), mlp=True)
    store(planted, planted.classifier)
    return planted


def store(planted: Planted, classifier: Classifier) -> None:
    snapshot = snapshots.latest(planted.scan)
    assert snapshot is not None
    store_logits(opened(planted.scan, snapshot), classifier)


def config(planted: Planted, **options: object) -> AblateConfig:
    return AblateConfig.checked(
        {"warehouse": planted.root, "classifier": "kinds", "control": 3, **options}
    )


@settings(deadline=None, max_examples=20)
@given(chosen=st.sets(st.integers(0, 3), max_size=4), seed=st.integers(0, 99))
def test_ablated_logits_are_the_ablated_embeddings(chosen: set[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.standard_normal((4, 10, 3)))[0]
    vectors = rng.standard_normal((4, 20, 3))
    embedding, w = rng.standard_normal((20, 10)), rng.standard_normal((5, 10))
    picked = sorted(chosen)
    means = vectors.mean(axis=1)
    left = ablate(embedding, vectors[picked], means[picked], q[picked])
    parts = head_logits(vectors, project(q, w))
    centred = (parts - parts.mean(axis=1, keepdims=True))[picked].sum(axis=0)
    np.testing.assert_allclose(left @ w.T, embedding @ w.T - centred, atol=1e-4)
    np.testing.assert_allclose(left.mean(axis=0), embedding.mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("heads", [[CHEAT], [(0, 0), (2, 3)], ALL])
def test_streaming_equals_recomputed_embeddings(
    birds: Planted, heads: list[tuple[int, int]]
) -> None:
    scene = open_scene(Warehouse(birds.root), None, "kinds", ("label", "place"))
    tally = ablate_sets(scene, [heads])
    after = (recomputed(birds, heads) @ birds.classifier.weights.T).argmax(axis=1) == birds.y
    for row in tally.rows():
        mine = (birds.y == int(row.group[0] or 0)) & (birds.place == int(row.group[1] or 0))
        assert row.n == mine.sum()
        assert row.accuracy[1] == pytest.approx(after[mine].mean(), abs=1e-3)


def test_many_classes_go_through_the_joint_space(tmp_path: Path) -> None:
    planted = plant(tmp_path)
    rng = np.random.default_rng(1)
    w = rng.standard_normal((40, SHAPE.d_joint)).astype(np.float32)
    w[:2] = planted.classifier.weights
    names = tuple(str(i) for i in range(40))
    many = Classifier("many", names, names, w, planted.classifier.provenance)
    store(planted, many)
    scene = open_scene(Warehouse(tmp_path), None, "many", ())
    tally = ablate_sets(scene, [[CHEAT]])
    after = (recomputed(planted, [CHEAT]) @ w.T).argmax(axis=1) == planted.y
    assert tally.accuracy(1) == pytest.approx(after.mean(), abs=3e-3)


def test_ablating_the_cheat_helps_the_worst_group(birds: Planted) -> None:
    done = run(config(birds, heads="L1H2", group_by="label,place"))
    assert done.worst.after > done.worst.before + 0.3
    assert done.worst.control_mean is not None
    assert done.worst.control_mean < done.worst.before + 0.1
    assert sum(g.n for g in done.groups) == done.total.n == len(birds.y)
    assert len(done.control) == 3
    assert not any("L1H2" in heads for heads in done.control)


def test_means_over_a_subset_are_those_of_its_pictures(birds: Planted) -> None:
    scene = open_scene(Warehouse(birds.root), None, "kinds", ())
    found = means_over(scene, ("place", "1"))
    assert found.n == (birds.place == 1).sum()
    vectors = birds.vectors[CHEAT[0]][CHEAT[1]].astype(np.float64)
    np.testing.assert_allclose(found.of(*CHEAT), vectors[birds.place == 1].mean(axis=0))
    done = run(config(birds, heads="L1H2", means="place=1", control=0))
    moved = vectors - vectors[birds.place == 1].mean(axis=0)
    q = birds.frames.q[SHAPE.layers.index(CHEAT[0]), CHEAT[1]]
    left = (birds.embedding - moved @ q.T) @ birds.classifier.weights.T
    assert done.total.after == pytest.approx((left.argmax(axis=1) == birds.y).mean(), abs=3e-3)
    assert done.total.control_mean is None


def test_sweep_begins_with_everything_and_ends_with_nothing(birds: Planted, tmp_path: Path) -> None:
    done = run_sweep(config(birds, sweep=True, png=tmp_path / "sweep.png"))
    by = {(row.kind, row.layers): row.accuracy for row in done.rows}
    n = SHAPE.n_layers
    before = (birds.embedding @ birds.classifier.weights.T).argmax(axis=1) == birds.y
    after = (recomputed(birds, ALL) @ birds.classifier.weights.T).argmax(axis=1) == birds.y
    assert by["none", 0] == pytest.approx(before.mean())
    assert by["attention", n] == pytest.approx(after.mean(), abs=1e-2)
    assert by["last", n] == by["mlps", 0]
    assert len(done.rows) == 2 + n + n + 1
    assert (tmp_path / "sweep.png").stat().st_size > 5000


def test_greedy_choice_takes_the_planted_head(birds: Planted) -> None:
    w = birds.classifier.weights
    parts = np.concatenate(
        [
            head_logits(birds.vectors[layer], project(birds.frames.q[at], w))
            for at, layer in enumerate(SHAPE.layers)
        ]
    )
    effects = parts - parts.mean(axis=1, keepdims=True)
    logits = birds.embedding @ w.T
    scores = attribute_against_target(logits, effects, birds.place, birds.y)
    assert ALL[int(scores.score.argmax())] == CHEAT
    assert scores.about_attribute.argmax() == ALL.index(CHEAT)
    choice = choose_greedily(
        logits, effects, birds.y, birds.y * 2 + birds.place, candidates=range(len(ALL)), most=5
    )
    assert ALL[choice.heads[0]] == CHEAT
    assert choice.worst[-1] == max(choice.worst)
    assert len(choice.worst) == len(choice.heads) + 1


def test_greedy_choice_of_nothing_is_nothing() -> None:
    logits = np.array([[1.0, 0.0], [0.0, 1.0]])
    truth = np.array([0, 1])
    choice = choose_greedily(
        logits, np.zeros((3, 2, 2)), truth, truth, candidates=[0, 1, 2], most=3
    )
    assert choice.heads == ()
    assert choice.worst == (1.0,)


def test_group_accuracy_leaves_out_empty_groups() -> None:
    found = group_accuracy(np.array([True, False, True]), np.array([0, 0, 2]), ["a", "b", "c"])
    assert found.groups == ("a", "c")
    assert found.worst == 0.5
    assert found.mean == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"heads": "L9H0"}, UnknownName, "no head L9H0"),
        ({"heads": "L1H7"}, UnknownName, "heads 0 to 3"),
        ({"heads": "nonsense"}, UsageError, "no head"),
        ({"role": "place"}, UnknownName, "none yet"),
        ({}, UsageError, "give one of"),
        ({"heads": "L1H2", "role": "place"}, UsageError, "give one of"),
        ({"heads": "L1H2", "group_by": "label,colour"}, UnknownName, "place, split, y"),
        ({"heads": "L1H2", "where": "split"}, UsageError, "column=value"),
        ({"heads": "L1H2", "where": "split=9"}, UsageError, "no picture"),
        ({"heads": "L1H2", "means": "split=9"}, UsageError, "no picture"),
        ({"heads": "L1H2", "means": "colour=red"}, UnknownName, "place, split, y"),
        ({"heads": "L1H2", "classifier": "other"}, UnknownName, "kinds"),
        ({"heads": "L1H2", "scan": "nope"}, UnknownName, "birds"),
    ],
)
def test_wrong_input_is_one_line(
    birds: Planted, options: dict[str, object], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words) as caught:
        run(config(birds, **options))
    assert "\n" not in str(caught.value)


def test_a_classifier_of_another_scan_is_named(tmp_path: Path) -> None:
    first = plant(tmp_path, "first")
    store(first, first.classifier)
    plant(tmp_path, "second", seed=1)
    with pytest.raises(UnknownName, match="scan 'first' has it"):
        run(config(first, heads="L1H2", scan="second"))


def test_sweep_needs_mlps(tmp_path: Path) -> None:
    planted = plant(tmp_path)
    store(planted, planted.classifier)
    with pytest.raises(UsageError, match="--layers all --store mlp"):
        run_sweep(config(planted, sweep=True))
