"""Scores against ten-line definitions, and against torchmetrics where it agrees."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.classification import (
    BinaryAveragePrecision,
    MulticlassAccuracy,
    MulticlassJaccardIndex,
)

from pipeline.maps import scoring
from pipeline.maps.scoring import THRESHOLDS, score_picture, semantic_counts, summarise


def random_case(seed: int, n: int = 5, levels: int = 0):
    rng = np.random.default_rng(seed)
    maps = [rng.normal(size=(6, 7)) for _ in range(n)]
    if levels:
        maps = [np.round(m * levels) / levels for m in maps]
    masks = [rng.random((6, 7)) < 0.4 for _ in range(n)]
    ignored = [rng.random((6, 7)) < 0.1 for _ in range(n)]
    return maps, masks, ignored


def add_up(found, classes) -> scoring.Summary:
    return summarise(
        np.array([f.correct for f in found]),
        np.array([f.pixels for f in found]),
        np.stack([f.intersection for f in found]),
        np.stack([f.union for f in found]),
        np.array([f.average_precision for f in found]),
        np.array([f.contrast for f in found]),
        np.stack([f.at_threshold for f in found]),
        np.array(classes),
    )


def slow_ap(scores: np.ndarray, positive: np.ndarray) -> float:
    """Walk down the distinct scores."""
    total, before, area = positive.sum(), 0.0, 0.0
    for t in sorted(set(scores.tolist()), reverse=True):
        chosen = scores >= t
        recall = (positive & chosen).sum() / total
        area += (recall - before) * (positive & chosen).sum() / chosen.sum()
        before = recall
    return float(area)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), levels=st.sampled_from([0, 2, 20]))
def test_foreground_scores_are_their_definitions(seed: int, levels: int) -> None:
    maps, masks, ignored = random_case(seed, levels=levels)
    classes = [0, 0, 1, 2, 1]
    found = add_up(
        [score_picture(*case) for case in zip(maps, masks, ignored, strict=True)], classes
    )

    hits = total = 0
    inter, union = np.zeros(2), np.zeros(2)
    precisions, contrasts = [], []
    per_class = {c: np.zeros((len(THRESHOLDS), 2)) for c in set(classes)}
    for m, g, out, c in zip(maps, masks, ignored, classes, strict=True):
        keep = ~out
        s = (m - m[keep].min()) / (m[keep].max() - m[keep].min())
        p = s > s[keep].mean()
        hits += ((p == g) & keep).sum()
        total += keep.sum()
        for value in (0, 1):
            inter[value] += ((p == value) & (g == value) & keep).sum()
            union[value] += (((p == value) | (g == value)) & keep).sum()
        precisions.append(
            slow_ap(np.concatenate([1 - s[keep], s[keep]]), np.concatenate([~g[keep], g[keep]]))
        )
        contrasts.append(s[keep & g].mean() - s[keep & ~g].mean())
        for i, t in enumerate(THRESHOLDS):
            per_class[c][i] += (((s > t) & g & keep).sum(), (((s > t) | g) & keep).sum())
    assert found.pixel_accuracy == pytest.approx(hits / total)
    assert found.miou == pytest.approx((inter / union).mean())
    assert found.map == pytest.approx(np.mean(precisions))
    assert found.msc == pytest.approx(np.mean(contrasts))
    curve = np.mean([c[:, 0] / c[:, 1] for c in per_class.values()], axis=0)
    assert found.best_miou == pytest.approx(curve.max())
    assert found.best_threshold == THRESHOLDS[curve.argmax()]


def test_torchmetrics_agrees_on_pooled_miou_accuracy_and_average_precision() -> None:
    maps, masks, _ = random_case(3, n=4)
    found = add_up([score_picture(m, g) for m, g in zip(maps, masks, strict=True)], [0] * 4)
    scaled = [(m - m.min()) / (m.max() - m.min()) for m in maps]
    predicted = torch.tensor(np.stack([s > s.mean() for s in scaled])).int()
    truth = torch.tensor(np.stack(masks)).int()
    assert float(MulticlassJaccardIndex(2, "macro")(predicted, truth)) == pytest.approx(found.miou)
    accuracy = MulticlassAccuracy(2, average="micro")(predicted, truth)
    assert float(accuracy) == pytest.approx(found.pixel_accuracy)
    each = [
        float(
            BinaryAveragePrecision()(
                torch.tensor(np.concatenate([1 - s.ravel(), s.ravel()])),
                torch.tensor(np.concatenate([~g.ravel(), g.ravel()])).int(),
            )
        )
        for s, g in zip(scaled, masks, strict=True)
    ]
    assert np.mean(each) == pytest.approx(found.map)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), extreme=st.sampled_from([-1e6, 1e6]))
def test_ignored_pixels_enter_nothing_whatever_their_values(seed: int, extreme: float) -> None:
    (m,), (g,), (out,) = random_case(seed, n=1)
    wild = np.where(out, extreme, m)
    for name, value in vars(score_picture(m, g, out)).items():
        np.testing.assert_array_equal(vars(score_picture(wild, g, out))[name], value)
    rng = np.random.default_rng(seed)
    values, mask = (
        rng.normal(size=(4, 6, 7)),
        np.where(out, scoring.IGNORE, rng.integers(0, 5, (6, 7))),
    )
    for background in (None, 0.6):
        plain = semantic_counts([values], mask, background).dense()
        odd = semantic_counts([np.where(out, extreme, values)], mask, background).dense()
        np.testing.assert_array_equal(plain, odd)
    nothing = score_picture(m, g, np.ones_like(out))
    assert nothing.pixels == 0 and np.isnan(nothing.average_precision)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), step=st.integers(1, 8))
def test_classes_at_a_time_and_pairs_alone_count_the_same(seed: int, step: int) -> None:
    rng = np.random.default_rng(seed)
    values, mask = np.round(rng.normal(size=(8, 5, 6)), 1), rng.integers(-1, 9, (5, 6))
    for background in (None, 0.5):
        whole = semantic_counts([values], mask, background)
        parts = semantic_counts([values[i : i + step] for i in range(0, 8, step)], mask, background)
        np.testing.assert_array_equal(whole.dense(), parts.dense())
        assert len(whole.cells) <= 30 and whole.pixels.sum() == whole.dense().sum()


def test_a_perfect_map_and_a_flat_one() -> None:
    mask = np.zeros((4, 4), dtype=bool)
    mask[1:3, 1:3] = True
    perfect = add_up([score_picture(mask.astype(float) * 7 - 2, mask)], [0])
    assert (perfect.pixel_accuracy, perfect.miou, perfect.map, perfect.msc) == (1, 1, 1, 1)
    assert perfect.best_miou == 1
    flat = score_picture(np.full((4, 4), 3.0), mask)
    assert flat.intersection.tolist() == [12, 0] and flat.contrast == 0
    assert np.isnan(score_picture(np.eye(4), np.zeros((4, 4), dtype=bool)).contrast)


def test_a_mask_is_scored_as_it_is_also_where_it_is_full_or_empty() -> None:
    (values, *_), (mask, *_), (ignored, *_) = random_case(0)
    drawn = values > 0.3
    found, keep = scoring.score_mask(drawn, mask, ignored), ~ignored
    assert found.pixels == keep.sum() and found.correct == ((drawn == mask) & keep).sum()
    assert found.intersection[1] == (drawn & mask & keep).sum()
    assert found.union[1] == ((drawn | mask) & keep).sum()
    full, empty = (scoring.score_mask(np.full((6, 7), one), mask) for one in (True, False))
    assert full.correct == mask.sum() and empty.correct == (~mask).sum()
    assert full.union.tolist() == [(~mask).sum(), 42] and full.contrast == 0
    np.testing.assert_array_equal(full.at_threshold[0], np.full(19, mask.sum()))
    np.testing.assert_array_equal(empty.at_threshold[0], np.zeros(19))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_semantic_segmentation_and_multilabel_are_their_definitions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(0, 4, (2, 9, 8))
    truth[rng.random((9, 8)) < 0.1] = scoring.IGNORE
    counts = scoring.confusion(predicted, truth, 5).dense()
    keep = truth != scoring.IGNORE
    each = [
        (keep & (predicted == c) & (truth == c)).sum()
        / (keep & ((predicted == c) | (truth == c))).sum()
        for c in range(5)
        if (keep & ((predicted == c) | (truth == c))).any()
    ]
    assert scoring.mean_iou(counts) == pytest.approx(np.mean(each))
    torch_says = MulticlassJaccardIndex(5, "none", ignore_index=scoring.IGNORE)(
        torch.tensor(predicted), torch.tensor(truth)
    )
    assert torch_says[:4].mean() == pytest.approx(np.mean(each))

    scores, positive = rng.normal(size=(12, 3)), rng.random((12, 4)) < 0.3
    positive = positive[:, :3]
    positive[:, 1] = False
    some = [k for k in range(3) if positive[:, k].any()]
    if some:
        expected = np.mean([slow_ap(scores[:, k], positive[:, k]) for k in some])
        assert scoring.multilabel_map(scores, positive) == pytest.approx(expected)


def test_no_positive_has_no_average_precision() -> None:
    assert np.isnan(scoring.average_precision(np.array([0.1, 0.2]), np.array([False, False])))
    assert np.isnan(scoring.multilabel_map(np.ones((2, 1)), np.zeros((2, 1), dtype=bool)))
    assert np.isnan(scoring.mean_iou(np.zeros((2, 2), dtype=np.int64)))
