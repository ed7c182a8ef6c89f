"""Records of scans from before there was a choice of decoding keep their pixels and fingerprint."""

import json

import pytest

from pipeline.pictures.decode import EXACT, Decoding
from schemas.manifest import ScanRecord

# scan.json as format 1 was written before records said how pictures are decoded, and its digest
OLD = {
    "format": 1,
    "scan_id": "s",
    "dataset": "d",
    "source": "/x",
    "created_at": "2026-01-01T00:00:00+00:00",
    "model": {
        "model": "ViT-B-32",
        "pretrained": "x",
        "weights_sha256": "0" * 64,
        "n_layers": 12,
        "n_heads": 12,
        "d_model": 768,
        "d_head": 64,
        "d_joint": 512,
        "pool": "tok",
        "preprocessing": {
            "image_size": [224, 224],
            "mean": [0.5, 0.25, 0.125],
            "std": [0.5, 0.25, 0.125],
            "interpolation": "bicubic",
            "resize_mode": "shortest",
        },
    },
    "model_path": "ViT-B-32",
    "pretrained_path": "x",
    "layers": [10, 11],
    "ln_split": "centred",
    "precision": "fp32",
    "stored": ["head"],
    "frames_sha256": "1" * 64,
    "versions": {},
    "zero_shot": None,
}
DIGEST = "92c9578ad951c44c0263f6d755bf75d4ce7f9bda5615543d11b34b40d35afb12"


def test_an_old_record_has_its_old_fingerprint_and_decoding() -> None:
    record = ScanRecord.model_validate_json(json.dumps(OLD))
    assert record.fingerprint() == DIGEST
    assert Decoding.of(record.model.preprocessing) == EXACT
    written = ScanRecord.model_validate_json(record.to_json())
    assert (written.fingerprint(), written) == (DIGEST, record)


@pytest.mark.parametrize("change", [{"decode": "scaled"}, {"transparent": "white"}])
def test_another_decoding_is_another_fingerprint(change: dict[str, str]) -> None:
    record = ScanRecord.model_validate_json(json.dumps(OLD))
    preprocessing = record.model.preprocessing.model_copy(update=change)
    model = record.model.model_copy(update={"preprocessing": preprocessing})
    assert record.model_copy(update={"model": model}).fingerprint() != DIGEST
    assert Decoding.of(preprocessing) != EXACT
