"""Masks from a map's points, by a promptable segmenter: SAM or SAM 2 of `transformers`.

CLIP Surgery's section 4 hands a map's points to SAM. Of the masks that it proposes, the one that it
rates best is taken. The package is an extra (`pip install headatlas[sam]`), and the model a local
folder as `save_pretrained` writes it: nothing is downloaded.
"""

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Bool
from PIL import Image

from pipeline.maps.shared import Points
from schemas.errors import UsageError, near_path

MODELS: Final = {
    "sam": ("SamModel", "SamProcessor"),
    "sam2": ("Sam2Model", "Sam2Processor"),
}


def check_segmenter(folder: Path) -> str:
    """Return which segmenter a folder holds, without loading it: `sam` or `sam2`.

    Raises:
        UsageError: there is no such folder, it holds no SAM, or `transformers` is not installed.
    """
    if not folder.is_dir():
        raise UsageError(f"--sam {folder}: no such folder{near_path(folder)}")
    path = folder / "config.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        kind = document["model_type"]
    except (OSError, ValueError, TypeError, KeyError):
        raise UsageError(
            f"--sam {folder}: expected config.json, weights and preprocessor_config.json there, as "
            "save_pretrained of transformers writes SAM or SAM 2"
        ) from None
    # SAM 2 for pictures and for videos is published as one checkpoint
    kind = "sam2" if kind == "sam2_video" else kind
    if kind not in MODELS:
        raise UsageError(f"--sam {folder}: a model of type {kind!r}, expected sam or sam2")
    if find_spec("transformers") is None:
        raise UsageError(
            "--sam: the package transformers is not installed; pip install headatlas[sam]"
        )
    return str(kind)


class Segmenter:
    """A promptable segmenter, held on its device."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        """Load the model and its preprocessing.

        Raises:
            UsageError: as `check_segmenter`, or a file is missing, broken, or lacks weights.
        """
        kind = check_segmenter(folder)
        import transformers

        model, processor = (getattr(transformers, name) for name in MODELS[kind])
        try:
            found, said = model.from_pretrained(
                folder, local_files_only=True, output_loading_info=True
            )
            self.processor: Any = processor.from_pretrained(folder, local_files_only=True)
        # of a file that is broken or missing, each format's reader says so in its own way
        except Exception as error:  # noqa: BLE001
            why = " ".join(str(error).split())[:200]
            raise UsageError(f"--sam {folder}: cannot be loaded: {why}") from None
        if missing := sorted(said["missing_keys"]):
            raise UsageError(
                f"--sam {folder}: its weights lack {len(missing)} of the model's, the first is "
                f"{missing[0]}; expected a whole checkpoint"
            )
        self.model: Any = found.eval().requires_grad_(False).to(device)
        self.device = device

    @torch.inference_mode()
    def __call__(
        self, picture: Image.Image, asked: Sequence[Points]
    ) -> list[Bool[np.ndarray, "height width"]]:
        """Return, for each set of points, the mask that the segmenter rates best.

        The picture is encoded once for all. Without a positive point there is nothing to segment:
        the mask is empty.

        Args:
            picture: RGB; masks are of its size.
            asked: each (x, y) in its pixels.
        """
        seen = self.processor(images=picture, return_tensors="pt")
        encoded = self.model.get_image_embeddings(seen["pixel_values"].to(self.device))
        # SAM keeps the aspect and pads, SAM 2 squeezes
        height, width = seen.get("reshaped_input_sizes", [seen["pixel_values"].shape[-2:]])[0]
        scale = torch.tensor([float(width) / picture.width, float(height) / picture.height])
        return [
            self._mask(seen, encoded, scale, one)
            if one.positive
            else np.zeros((picture.height, picture.width), dtype=bool)
            for one in asked
        ]

    def _mask(self, seen: Any, encoded: Any, scale: torch.Tensor, asked: Points) -> np.ndarray:
        places = torch.tensor([*asked.positive, *asked.negative], dtype=torch.float32) * scale
        labels = torch.tensor([1] * len(asked.positive) + [0] * len(asked.negative))
        found = self.model(
            image_embeddings=encoded,
            input_points=places[None, None].to(self.device),
            input_labels=labels[None, None].to(self.device),
            multimask_output=True,
        )
        sizes = [seen[k] for k in ("original_sizes", "reshaped_input_sizes") if k in seen]
        post = self.processor.image_processor.post_process_masks
        (masks,) = post(found.pred_masks.float().cpu(), *sizes)
        best = int(found.iou_scores.flatten().argmax())
        mask: np.ndarray = masks.reshape(-1, *masks.shape[-2:])[best].numpy().astype(bool)
        return mask
