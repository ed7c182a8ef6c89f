"""Writing a classifier with its logits, and every head's part of them, one shard in memory."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from jobs import console
from jobs.steps.opened import Opened
from jobs.steps.whatif import Tally
from pipeline.heads.ablation import head_logits, project
from schemas.results.head_logits import HEAD_LOGITS, head_logits_schema
from schemas.results.image_logits import IMAGE_LOGITS, image_logits_schema
from warehouse.files.layout import ScanDir
from warehouse.results.classifiers import (
    Classifier,
    classifier_path,
    write_classifier,
    write_head_logits,
    write_image_logits,
)
from warehouse.results.files import stream_result
from warehouse.store.columns import READ, column, truth
from warehouse.store.reading import matrix, read_images, read_layer

# Numbers in a file of logits above which it is not written: 0.8 GB.
MOST_LOGITS = 200_000_000
# Heads' logits held at a time: 64 MB.
_HELD = 16_000_000


@dataclass(frozen=True)
class StoredLogits:
    """What was written, and how often the classifier is right.

    Attributes:
        path: the classifier's file.
        head_logits: whether the heads' parts were written too.
        by_class: pictures with a known class, by its name.
        by_group: the same by the columns asked for; empty when none were.
    """

    path: Path
    head_logits: bool
    by_class: Tally
    by_group: Tally


def store_logits(
    opened: Opened,
    classifier: Classifier,
    group_by: tuple[str, ...] = (),
    provenances: Mapping[str, dict[str, Any]] | None = None,
) -> StoredLogits:
    """Write a classifier and its logits over all pictures of a snapshot, replacing what was there.

    A file of more than 2e8 numbers is not written, which is said, also in what the classifier says
    of itself (`with`). `provenances` are those of the logits by kind; default, the classifier's.
    """
    scan, images_stored = opened.scan, opened.snapshot.images
    projected = {
        layer: project(q, classifier.weights) for layer, (q, _) in opened.frames.pairs.items()
    }
    numbers = images_stored * len(classifier.names)
    by_class, by_group = Tally(1), Tally(1)
    with ExitStack() as stack:

        def writer(kind: str, schema: pa.Schema, size: int) -> pq.ParquetWriter | None:
            path = classifier_path(scan, classifier.name, kind)
            said = (provenances or {}).get(kind, classifier.provenance)
            return _writer(stack, path, kind, schema, said, size)

        images = writer(IMAGE_LOGITS, image_logits_schema(), numbers)
        parts = writer(HEAD_LOGITS, head_logits_schema(), numbers * (len(opened.heads) + 1))
        advance = stack.enter_context(console.progress("Classifying", images_stored))
        done = 0
        for shard in opened.shards:
            rows = read_images(scan, [shard], [*READ, "embedding"])
            own = truth(rows, classifier.label_column, classifier.labels)
            ids = rows["image_id"].to_numpy()
            logits = matrix(rows["embedding"]) @ classifier.weights.T
            if images is not None:
                write_image_logits(images, ids, logits, own)
            if parts is not None:
                for part, found in _parts(scan, shard, projected):
                    write_head_logits(parts, ids[part], logits[part], own[part], found)
            _count(rows, classifier, own, logits, group_by, by_class, by_group)
            done += rows.num_rows
            advance(done)
    written = [k for k, w in ((IMAGE_LOGITS, images), (HEAD_LOGITS, parts)) if w is not None]
    said = {**classifier.provenance, "with": written, "accuracy": by_class.accuracy(0)}
    means = _head_means(opened, classifier)
    path = write_classifier(scan, replace(classifier, provenance=said), means)
    return StoredLogits(path, parts is not None, by_class, by_group)


def _writer(
    stack: ExitStack,
    path: Path,
    kind: str,
    schema: pa.Schema,
    provenance: dict[str, Any],
    numbers: int,
) -> pq.ParquetWriter | None:
    """Open a file of logits; None, with an older one removed, where it would be too large."""
    if numbers <= MOST_LOGITS:
        writer: pq.ParquetWriter = stack.enter_context(stream_result(path, schema, provenance))
        return writer
    path.unlink(missing_ok=True)
    console.note(
        f"{kind} is not written: it would hold {numbers:,} numbers, more than {MOST_LOGITS:,}; "
        "headatlas ablate reads the contributions instead, with the same answers"
    )
    return None


def _parts(
    scan: ScanDir, shard: str, projected: Mapping[int, Float[np.ndarray, "_ _ class"]]
) -> Iterator[tuple[slice, Float[np.ndarray, "image class head"]]]:
    """Yield runs of a shard's pictures with every stored head's part of their logits."""
    blocks = [read_layer(scan, shard, layer) for layer in projected]
    images = blocks[0].vectors.shape[1]
    step = max(1, _HELD // sum(p.shape[0] * p.shape[2] for p in projected.values()))
    for start in range(0, images, step):
        part = slice(start, min(start + step, images))
        found = [
            np.moveaxis(head_logits(block.vectors[:, part], projected[block.layer]), 0, 2)
            for block in blocks
        ]
        yield part, np.concatenate(found, axis=2)


def _count(
    rows: pa.Table,
    classifier: Classifier,
    own: Int[np.ndarray, " image"],
    logits: Float[np.ndarray, "image class"],
    group_by: tuple[str, ...],
    by_class: Tally,
    by_group: Tally,
) -> None:
    known = np.flatnonzero(own >= 0)
    hits = (logits.argmax(axis=1) == own)[None, known]
    by_class.add([[classifier.names[i]] for i in own[known]], hits)
    if group_by:
        columns = [column(rows, name) for name in group_by]
        by_group.add([[c[i] for c in columns] for i in known], hits)


def _head_means(opened: Opened, classifier: Classifier) -> Float[np.ndarray, "class head"]:
    """Return each stored head's mean logit for each class, over all pictures of the scan."""
    means = opened.means()
    directions = np.stack(
        [
            opened.frame(*head) @ mean
            for *head, mean in zip(means.layers, means.heads, means.vectors, strict=True)
        ]
    )
    found: Float[np.ndarray, "class head"] = classifier.weights.astype(np.float64) @ directions.T
    return found
