"""Scores of maps against masks, from per-picture counts that add up over any sharding.

Foreground and background (METHODS: ImageNet-Segmentation's protocol), best threshold and contrast
(CLIP Surgery's), semantic segmentation by argmax, and multi-label average precision. The counts of
a picture are integers, so the totals do not depend on the order of pictures or on workers.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

# Thresholds tried on min-maxed maps by the best-threshold mIoU.
THRESHOLDS = np.round(np.arange(1, 20) * 0.05, 2)
IGNORE = -1


@dataclass(frozen=True)
class PictureScore:
    """One map against one mask. Ignored pixels enter nothing.

    Attributes:
        pixels: counted.
        correct: of them, on the right side of the map's mean.
        intersection: of background and foreground, as predicted and as they are.
        union: of the same.
        average_precision: of [1 − S, S] against [1 − G, G], S the min-maxed map.
        contrast: mean of S in the foreground less its mean in the background; NaN without one.
        at_threshold: foreground's intersection and union at each of `THRESHOLDS`.
    """

    pixels: int
    correct: int
    intersection: Int[np.ndarray, " 2"]
    union: Int[np.ndarray, " 2"]
    average_precision: float
    contrast: float
    at_threshold: Int[np.ndarray, "2 threshold"]


def score_picture(
    values: Float[np.ndarray, "height width"],
    foreground: Bool[np.ndarray, "height width"],
    ignored: Bool[np.ndarray, "height width"] | None = None,
) -> PictureScore:
    """Score one map, already at the mask's size; predicted foreground is above the map's mean."""
    keep = np.ones_like(foreground) if ignored is None else ~ignored
    kept, truth = values[keep], foreground[keep]
    low, high = float(kept.min(initial=np.inf)), float(kept.max(initial=-np.inf))
    s = (kept - low) / (high - low) if high > low else np.zeros_like(kept)
    return _score(s, s > s.mean() if len(s) else s > 0, truth)


def score_mask(
    mask: Bool[np.ndarray, "height width"],
    foreground: Bool[np.ndarray, "height width"],
    ignored: Bool[np.ndarray, "height width"] | None = None,
) -> PictureScore:
    """Score a predicted mask: a map of 0 and 1 that is not min-maxed, so that one may be full."""
    keep = np.ones_like(foreground) if ignored is None else ~ignored
    return _score(mask[keep].astype(np.float64), mask[keep], foreground[keep])


def _score(
    s: Float[np.ndarray, " pixel"],
    predicted: Bool[np.ndarray, " pixel"],
    truth: Bool[np.ndarray, " pixel"],
) -> PictureScore:
    """Score the values of the pixels that count, from 0 to 1."""
    both = (truth & predicted).sum()
    neither = (~truth & ~predicted).sum()
    bins = np.searchsorted(THRESHOLDS, s, side="left")
    counts = [np.bincount(bins[part], minlength=len(THRESHOLDS) + 1) for part in (truth, ~truth)]
    # pixels whose value is above threshold i are those of the bins after i
    hit, false = (np.cumsum(count[::-1])[::-1][1:] for count in counts)
    n_true = int(truth.sum())
    inside, outside = s[truth], s[~truth]
    contrast = float(inside.mean() - outside.mean()) if len(inside) and len(outside) else np.nan
    return PictureScore(
        pixels=len(s),
        correct=int(both + neither),
        intersection=np.array([neither, both]),
        union=np.array([(~truth | ~predicted).sum(), (truth | predicted).sum()]),
        average_precision=average_precision(
            np.concatenate([1 - s, s]), np.concatenate([~truth, truth])
        ),
        contrast=contrast,
        at_threshold=np.stack([hit, false + n_true]),
    )


def average_precision(scores: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]) -> float:
    """Return Σ (R_k − R_{k−1}) P_k over distinct scores, highest first; NaN without positives."""
    total = int(positive.sum())
    if total == 0:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)
    hits = np.cumsum(positive[order])[last]
    precision = hits / (np.flatnonzero(last) + 1)
    return float((np.diff(hits, prepend=0) / total * precision).sum())


@dataclass(frozen=True)
class Summary:
    """Scores of a method over a data set, as shares.

    Attributes:
        pixel_accuracy: over all pixels of all pictures.
        miou: mean of background's and foreground's, intersections and unions pooled.
        map: mean of the pictures' average precisions.
        best_miou: mean over classes of the foreground's pooled IoU, at the threshold below.
        best_threshold: the one of `THRESHOLDS` at which that mean is highest.
        msc: mean of the pictures' contrasts.
    """

    pixel_accuracy: float
    miou: float
    map: float
    best_miou: float
    best_threshold: float
    msc: float


def summarise(
    correct: Int[np.ndarray, " image"],
    pixels: Int[np.ndarray, " image"],
    intersection: Int[np.ndarray, "image 2"],
    union: Int[np.ndarray, "image 2"],
    precision: Float[np.ndarray, " image"],
    contrast: Float[np.ndarray, " image"],
    at_threshold: Int[np.ndarray, "image 2 threshold"],
    classes: Int[np.ndarray, " image"],
) -> Summary:
    """Add up the pictures of a data set; `classes` groups them for the best threshold."""
    pooled = np.stack([at_threshold[classes == c].sum(axis=0) for c in np.unique(classes)])
    curve = _iou(pooled[:, 0], pooled[:, 1]).mean(axis=0)
    best = int(curve.argmax())
    return Summary(
        pixel_accuracy=float(correct.sum() / pixels.sum()),
        miou=float(_iou(intersection.sum(axis=0), union.sum(axis=0)).mean()),
        map=_mean(precision),
        best_miou=float(curve[best]),
        best_threshold=float(THRESHOLDS[best]),
        msc=_mean(contrast),
    )


def _mean(values: Float[np.ndarray, " n"]) -> float:
    """Return the mean of the values that there are; NaN of none."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")


def _iou(
    intersection: Int[np.ndarray, "*axes"], union: Int[np.ndarray, "*axes"]
) -> Float[np.ndarray, "*axes"]:
    return intersection / np.maximum(union, 1)


@dataclass(frozen=True)
class Confusion:
    """Pixels by (true class, predicted class): only the pairs that there are.

    With ImageNet-S's 919 classes a picture has a few of 844,561 pairs.

    Attributes:
        cells: true class · n + predicted class, ascending.
        pixels: how many of each.
        n: classes.
    """

    cells: Int[np.ndarray, " pair"]
    pixels: Int[np.ndarray, " pair"]
    n: int

    def dense(self) -> Int[np.ndarray, "n n"]:
        """Return all pairs."""
        found = np.zeros(self.n * self.n, dtype=np.int64)
        np.add.at(found, self.cells, self.pixels)
        return found.reshape(self.n, self.n)


def confusion(
    predicted: Int[np.ndarray, "height width"], truth: Int[np.ndarray, "height width"], n: int
) -> Confusion:
    """Count pixels by (true class, predicted class); those whose true class is `IGNORE` are out."""
    keep = truth != IGNORE
    cells, pixels = np.unique(
        truth[keep].astype(np.int64) * n + predicted[keep], return_counts=True
    )
    return Confusion(cells, pixels.astype(np.int64), n)


def semantic_counts(
    values: Iterable[Float[np.ndarray, "_ height width"]],
    mask: Int[np.ndarray, "height width"],
    background: float | None = None,
) -> Confusion:
    """Count one picture's pixels by (true class, class whose map is highest).

    Args:
        values: a map for each class, some classes at a time, in their order.
        mask: 0 background, `IGNORE`, or a class, from 1 on.
        background: None, and the mask's background is ignored. Else the background is a class, the
            last one, and predicted where no map reaches this share of the way from the lowest
            value of all the picture's maps to the highest, ignored pixels left out.
    """
    keep, n = mask != IGNORE, 0
    low, highest = np.inf, np.full(mask.shape, -np.inf)
    predicted = np.zeros(mask.shape, dtype=np.int64)
    for some in values:
        best = some.max(axis=0)
        higher = best > highest
        predicted[higher] = (n + some.argmax(axis=0))[higher]
        highest[higher] = best[higher]
        low = min(low, float(some[:, keep].min(initial=np.inf)))
        n += len(some)
    if background is not None:
        high = float(highest[keep].max(initial=-np.inf))
        predicted[highest - low < background * (high - low)] = n
    behind = IGNORE if background is None else n
    truth = np.where(mask == IGNORE, IGNORE, np.where(mask == 0, behind, mask.astype(int) - 1))
    return confusion(predicted, truth, n if background is None else n + 1)


def mean_iou(counts: Int[np.ndarray, "n n"]) -> float:
    """Return the mean IoU over classes that are there or were predicted; NaN without any."""
    hits = np.diag(counts)
    union = counts.sum(axis=0) + counts.sum(axis=1) - hits
    return _mean(np.where(union > 0, hits / np.maximum(union, 1), np.nan))


def multilabel_map(
    scores: Float[np.ndarray, "image label"], positive: Bool[np.ndarray, "image label"]
) -> float:
    """Return the mean of the labels' average precisions, over labels that any picture has."""
    found = [average_precision(s, p) for s, p in zip(scores.T, positive.T, strict=True)]
    return _mean(np.array(found))
