"""A sample of the pictures that a classifier has a class for."""

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from jobs.steps.stratified import stratified
from schemas.errors import UsageError
from warehouse.results.classifiers import Classifier
from warehouse.store.columns import truth


def labelled(
    images: pa.Table, scan: str, classifier: Classifier, count: int, seed: int
) -> tuple[Int[np.ndarray, " chosen"], Int[np.ndarray, " chosen"]]:
    """Return the places of at most `count` pictures, ascending, and each one's class.

    Drawn by class in proportion, by the seed; `images` are the scan's, with label and metadata.

    Raises:
        UsageError: the classifier has fewer than two classes, or no picture has one of them.
    """
    if len(classifier.names) < 2:
        raise UsageError(
            f"classifier {classifier.name!r} has {len(classifier.names)} class; there is a right "
            "and a wrong one with two or more: headatlas zeroshot makes one of them"
        )
    own = truth(images, classifier.label_column, classifier.labels)
    known = np.flatnonzero(own >= 0)
    if not len(known):
        raise UsageError(
            f"no picture of scan {scan!r} has a {classifier.label_column} that is a class of "
            f"{classifier.name!r} (as {classifier.labels[0]!r}); scan with labels"
        )
    chosen = known[stratified([str(value) for value in own[known]], count, seed)]
    return chosen, own[chosen]
