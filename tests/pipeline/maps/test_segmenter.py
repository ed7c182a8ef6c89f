"""Masks by SAM and SAM 2 from points: the model's own best, and known masks that are taught."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from pipeline.maps.segmenter import Segmenter
from pipeline.maps.shared import Points
from schemas.errors import UsageError
from tests.tiny_sam import HALVES, SIDE, half, hot_in, picture, tiny_sam

transformers = pytest.importorskip("transformers", reason="the extra sam is not installed")
CPU = torch.device("cpu")
ASKED = Points(((10.0, 5.0), (12.5, 20.0)), ((40.0, 3.0), (45.0, 25.0)))


@pytest.fixture(scope="module")
def random(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("sam")
    return {kind: tiny_sam(root / kind, kind) for kind in ("sam", "sam2")}


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_the_mask_is_the_models_own_best(random: dict[str, Path], kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (30, 50, 3), dtype=np.uint8)
    seen = Image.fromarray(noise)
    (found,) = Segmenter(random[kind], CPU)(seen, [ASKED])
    # by hand: SAM makes the longest side 64 and pads below, SAM 2 squeezes to 64 x 64
    wide, high = (64, 38) if kind == "sam" else (64, 64)
    names = {"sam": ("SamModel", "SamProcessor"), "sam2": ("Sam2Model", "Sam2Processor")}[kind]
    model, processor = (getattr(transformers, n).from_pretrained(random[kind]) for n in names)
    pixels = processor(images=seen, return_tensors="pt")["pixel_values"]
    places = [[x * wide / 50, y * high / 30] for x, y in (*ASKED.positive, *ASKED.negative)]
    with torch.no_grad():
        said = model.eval()(
            pixel_values=pixels,
            input_points=torch.tensor([[places]]),
            input_labels=torch.tensor([[[1, 1, 0, 0]]]),
            multimask_output=True,
        )
    logits = said.pred_masks[0, :, int(said.iou_scores.flatten().argmax())][None]
    if kind == "sam":
        logits = F.interpolate(logits, (SIDE, SIDE), mode="bilinear")[..., :high, :wide]
    expected = F.interpolate(logits, (30, 50), mode="bilinear")[0, 0].numpy() > 0
    assert found.shape == (30, 50) and found.dtype == bool
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(found, expected)
    # what the package itself makes of the same points
    theirs = processor(
        images=seen,
        input_points=[[[list(p) for p in (*ASKED.positive, *ASKED.negative)]]],
        input_labels=[[[1, 1, 0, 0]]],
        return_tensors="pt",
    )
    np.testing.assert_allclose(theirs["input_points"][0, 0].numpy(), places, rtol=1e-6)


@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_points_of_a_known_mask_give_it(kind: str, tmp_path: Path) -> None:
    segmenter = Segmenter(tiny_sam(tmp_path, kind, steps=120), CPU)
    found = segmenter(picture(), [hot_in(name) for name in HALVES])
    for name, mask in zip(HALVES, found, strict=True):
        assert iou(mask, half(name)) > 0.8, name
    # swapped, or the other way round, points mean another half
    left = hot_in("left")
    (turned,) = segmenter(picture(), [Points(left.negative, left.positive)])
    assert iou(turned, half("right")) > 0.8


def test_without_a_positive_point_there_is_no_mask(random: dict[str, Path]) -> None:
    first, none, again = Segmenter(random["sam"], CPU)(picture(), [ASKED, Points((), ()), ASKED])
    assert not none.any() and none.shape == first.shape == (30, 60)
    np.testing.assert_array_equal(first, again)


def test_what_holds_no_sam_is_refused(random: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing: no such folder"):
        Segmenter(tmp_path / "nothing", CPU)
    with pytest.raises(UsageError, match=r"expected config\.json, weights and"):
        Segmenter(tmp_path, CPU)
    for text in ("[]", "no json", "{}"):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(UsageError, match=r"expected config\.json, weights and"):
            Segmenter(tmp_path, CPU)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(UsageError, match="a model of type 'clip', expected sam or sam2"):
        Segmenter(tmp_path, CPU)
    shutil.copy(random["sam"] / "config.json", tmp_path)
    with pytest.raises(UsageError, match="cannot be loaded"):
        Segmenter(tmp_path, CPU)
    shutil.copytree(random["sam"], tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["mask_decoder.iou_token.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UsageError, match=r"lack 1 of the model's, the first is mask_decoder\.iou"):
        Segmenter(tmp_path, CPU)
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(UsageError, match="cannot be loaded"):
        Segmenter(tmp_path, CPU)


def test_without_transformers_it_says_what_to_install(
    random: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match=r"not installed; pip install headatlas\[sam\]"):
        Segmenter(random["sam"], CPU)
