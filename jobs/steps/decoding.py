"""How pictures are decoded for a model: as its scan did, so that whatever is shown was seen."""

from pipeline.pictures.decode import Decoding
from schemas.manifest import Preprocessing, ScanRecord


def as_new(preprocessing: Preprocessing) -> Preprocessing:
    """Return a model's preprocessing with what a new scan decides of decoding.

    Measured by benchmarks/decode.py, see docs/log.md.
    """
    return preprocessing.model_copy(update={"decode": "scaled", "transparent": "white"})


def decoding_of(record: ScanRecord | None, preprocessing: Preprocessing) -> Decoding:
    """Return how a scan decoded; for a model that has none, how a new scan would."""
    return Decoding.of(as_new(preprocessing) if record is None else record.model.preprocessing)
