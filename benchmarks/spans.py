"""TextSpan for a whole ViT-L-14 on moments: 384 heads, 3,500 texts, 60 picks each."""

import time

import numpy as np

from benchmarks.rows import Row
from pipeline.heads.textspan import textspan

HEADS, WIDTH, JOINT, TEXTS, STEPS = 384, 64, 768, 3500, 60


def run() -> list[Row]:
    """Time TextSpan, projection of the texts included, on covariances of any number of pictures."""
    rng = np.random.default_rng(0)
    frames = np.linalg.qr(rng.normal(size=(HEADS, JOINT, WIDTH)))[0]
    texts = rng.normal(size=(TEXTS, JOINT))
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    rows = []
    for pictures in (1_000, 1_000_000):
        mixed = rng.normal(size=(HEADS, WIDTH, WIDTH))
        # pictures enter through the moments alone: a Wishart draw would differ by its scale only
        covariance = mixed @ mixed.transpose(0, 2, 1) * (1 + 1 / pictures)
        started = time.perf_counter()
        textspan(covariance, frames, texts, STEPS)
        seconds = time.perf_counter() - started
        note = f"{HEADS} heads x {WIDTH}, {TEXTS} texts, {STEPS} picks, {pictures:,} pictures"
        rows.append(Row("TextSpan from moments", seconds, "s", 10.0, note))
    return rows
