"""A zero-shot number in scan.json, so that a wrong checkpoint or preprocessing is seen at once."""

import numpy as np

from jobs import console
from pipeline.texts.class_weights import class_weights
from pipeline.texts.zeroshot import PLAIN_TEMPLATE, Sanity, label_prompt, sanity
from pipeline.towers.models import LoadedModel
from schemas.manifest import ScanRecord, Snapshot
from schemas.text import how_many
from warehouse.files.layout import ScanDir
from warehouse.store.reading import matrix, read_images
from warehouse.store.zero_shot import store_zero_shot, zero_shot_of

MOST_CLASSES = 2000


def sanity_check(
    scan: ScanDir, record: ScanRecord, snapshot: Snapshot, model: LoadedModel
) -> Sanity | None:
    """Classify the labelled pictures by their labels' names; warn, loudly, when near chance.

    Uses the stored embeddings: no picture is read again. None, and nothing written, where fewer
    than two labels are known, or more than 2,000, or where the number is of these very pictures and
    labels already.
    """
    if zero_shot_of(scan, record, snapshot) is not None:
        return None
    shards = [live.shard for live in snapshot.shards]
    known: set[str] = set()
    for shard in shards:
        known.update(v for v in read_images(scan, [shard], ["label"])["label"].to_pylist() if v)
    if not 2 <= len(known) <= MOST_CLASSES:
        return None
    names = sorted(known)
    weights = class_weights(model.encode_text, [label_prompt(name) for name in names])
    index = {name: i for i, name in enumerate(names)}
    counts, correct = np.zeros(len(names), np.int64), 0
    for shard in shards:
        rows = read_images(scan, [shard], ["label", "embedding"])
        labels = np.array([index.get(v, -1) for v in rows["label"].to_pylist()], np.int64)
        if not len(labels):
            continue
        guesses = (matrix(rows["embedding"]) @ weights.T).argmax(axis=1)
        correct += int((guesses == labels).sum())
        counts += np.bincount(labels[labels >= 0], minlength=len(names))
    found = sanity(counts, correct)
    said = {
        "accuracy": round(found.accuracy, 4),
        "chance": round(found.chance, 4),
        "classes": found.classes,
        "images": found.images,
        "template": PLAIN_TEMPLATE[0],
    }
    store_zero_shot(scan, record, snapshot, said)
    text = (
        f"zero-shot over {how_many(found.images, 'labelled picture')}, "
        f"{how_many(found.classes, 'class')}: "
        f"{found.accuracy:.1%} right, guessing gives {found.chance:.1%}"
    )
    if found.near_chance:
        console.warn(
            f"{text}. That is near chance: is this the right checkpoint and preprocessing "
            "(quickgelu?), and are the labels words that a caption could hold?"
        )
    else:
        console.note(text)
    return found
