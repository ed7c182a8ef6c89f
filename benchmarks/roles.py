"""Roles of a whole ViT-L-14: enrichment of 384 heads x 60 picks, and the turned null."""

import time

import numpy as np

from benchmarks.rows import Row
from pipeline.roles.enrichment import enrichment
from pipeline.roles.rotation_null import turned

HEADS, WIDTH, JOINT, TEXTS, PICKS, PROPERTIES = 384, 64, 768, 3500, 60, 20
PERMUTATIONS = 10_000
# Heads of the slower null that are timed; the figure is scaled to all of them.
TURNED = 12


def run() -> list[Row]:
    """Time both tests; every second head has a role, so that its tails have to be computed."""
    rng = np.random.default_rng(0)
    labels = [f"p{i}" for i in rng.integers(0, PROPERTIES, TEXTS)]
    picks = np.stack([rng.permutation(TEXTS)[:PICKS] for _ in range(HEADS)])
    explained = np.sort(rng.exponential(size=(HEADS, PICKS)) ** 2, axis=1)[:, ::-1]
    explained = explained / explained.sum(axis=1, keepdims=True)
    by_property = [
        [i for i, p in enumerate(labels) if p == f"p{h % PROPERTIES}"] for h in range(20)
    ]
    for head in range(0, HEADS, 2):
        picks[head, :40] = by_property[head % PROPERTIES][:40]
    started = time.perf_counter()
    enrichment(picks, explained, labels, permutations=PERMUTATIONS)
    seconds = time.perf_counter() - started
    note = f"{HEADS} heads x {PICKS} picks, {PROPERTIES} properties, {PERMUTATIONS:,} permutations"
    rows = [Row("Roles: enrichment", seconds, "s", 10.0, note)]

    mixed = rng.normal(size=(TURNED, WIDTH, WIDTH))
    texts = rng.normal(size=(TEXTS, JOINT))
    started = time.perf_counter()
    turned(
        mixed @ mixed.transpose(0, 2, 1),
        np.linalg.qr(rng.normal(size=(TURNED, JOINT, WIDTH)))[0],
        texts / np.linalg.norm(texts, axis=1, keepdims=True),
        picks[:TURNED],
        explained[:TURNED],
        rng.integers(0, PROPERTIES, TEXTS),
    )
    seconds = (time.perf_counter() - started) * HEADS / TURNED
    note = f"{TURNED} heads timed, scaled to {HEADS}; {TEXTS} texts, up to 128 rotations each"
    return [*rows, Row("Roles: turned null", seconds, "s", None, note)]
