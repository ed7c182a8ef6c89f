"""CLIP models: loading one, naming its parts, and refusing what has no exact decomposition."""

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import open_clip
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor, nn

from pipeline.towers.registry import tower_of
from pipeline.towers.tower import Tower
from schemas.config import Precision
from schemas.errors import UnsupportedModel, UsageError
from schemas.manifest import ModelRecord, Preprocessing
from schemas.names import NO_WEIGHTS

SEED = 20260101
DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


@dataclass(frozen=True)
class LoadedModel:
    """A CLIP model ready to scan with.

    Attributes:
        clip: open_clip's model, in evaluation mode, on `device`.
        transform: a picture to the model's input, open_clip's own evaluation transform.
        tokenizer: texts to token ids; `context_length` stands in for the model's.
        record: what is written in scan.json.
    """

    clip: Any
    transform: Callable[[Image.Image], Tensor]
    tokenizer: Callable[..., Tensor]
    record: ModelRecord
    device: torch.device
    dtype: torch.dtype

    @property
    def visual(self) -> Any:
        """The image encoder, as its own library has it."""
        return self.clip.visual

    @cached_property
    def tower(self) -> Tower:
        """The image encoder, as blocks and a read-out."""
        return tower_of(self.clip.visual, self.record.model)

    @torch.inference_mode()
    def encode_text(self, texts: list[str], batch: int = 256) -> Float[Tensor, "text d_joint"]:
        """Return unit-norm text embeddings, float32 on the CPU."""
        parts = [torch.empty(0, self.record.d_joint)]
        for start in range(0, len(texts), batch):
            tokens = self.tokenizer(texts[start : start + batch]).to(self.device)
            parts.append(self.clip.encode_text(tokens).float().cpu())
        return nn.functional.normalize(torch.cat(parts), dim=-1)

    def fits(self, texts: list[str]) -> Bool[Tensor, " text"]:
        """Return whether each text is encoded whole, not cut at the model's context length.

        A text is cut where a place more changes any token that the model sees: what pads and what
        ends a text differ between tokenizers.
        """
        if not texts:
            return torch.empty(0, dtype=torch.bool)
        seen = self.tokenizer(texts)
        length = seen.shape[1]
        return (self.tokenizer(texts, context_length=length + 1)[:, :length] == seen).all(dim=1)


def pick_device() -> torch.device:
    """Return the first GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_model(
    model: str, pretrained: str, precision: Precision = "fp32", device: torch.device | None = None
) -> LoadedModel:
    """Load a CLIP model and check that its image encoder can be decomposed exactly.

    Args:
        model: open_clip name, or path of a model config JSON.
        pretrained: open_clip tag, path of a checkpoint (.safetensors, or .pt read with
            weights_only), or `none` for random weights from a fixed seed.
        precision: arithmetic of the weights.
        device: default, the first GPU or the CPU.

    Raises:
        UsageError: no such model, tag or file, or the file does not fit the model.
        UnsupportedModel: the image encoder has no exact decomposition.
    """
    device = device or pick_device()
    name = _register(model)
    tag = None if pretrained == NO_WEIGHTS else _checkpoint(name, pretrained)
    with torch.random.fork_rng(), _quiet(logging.getLogger()):
        torch.manual_seed(SEED)
        try:
            clip, _, transform = open_clip.create_model_and_transforms(
                name, pretrained=tag, precision=precision, device=device
            )
        except (RuntimeError, OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:300]
            raise UsageError(
                f"cannot load {pretrained!r} into {model}: {type(error).__name__}: {reason}; "
                "give a tag of this model, a checkpoint file that fits it, or none"
            ) from error
    clip.eval().requires_grad_(False)
    tower = tower_of(clip.visual, model)
    check_supported(tower, model)
    record = _record(clip, tower, name, Path(pretrained).name)
    tokenizer = open_clip.get_tokenizer(name, context_length=clip.context_length)
    return LoadedModel(clip, transform, tokenizer, record, device, DTYPES[precision])


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Hold back open_clip's warnings on the root logger: what they say is said by name here."""
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _register(model: str) -> str:
    """Return the open_clip name of `model`, registering a config file under its stem."""
    if model.endswith(".json"):
        path = Path(model)
        if not path.is_file():
            raise UsageError(f"no model config {model}")
        open_clip.add_model_config(path)
        return path.stem
    if "/" not in model and model not in open_clip.list_models():
        near = [m for m in open_clip.list_models() if m.lower()[:5] == model.lower()[:5]][:12]
        raise UsageError(
            f"no model {model!r} in open_clip; near it: {', '.join(near) or 'none'}; "
            "a config of your own is given by its path, ending in .json"
        )
    return model


def _checkpoint(name: str, pretrained: str) -> str:
    """Return `pretrained` when it is a file or a tag of the model."""
    if Path(pretrained).is_file():
        return pretrained
    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained not in tags and "/" not in name:
        raise UsageError(
            f"{pretrained!r} is neither a file nor a tag of {name}; "
            f"tags: {', '.join(tags) or 'none'}; or none for random weights"
        )
    return pretrained


def check_supported(tower: Tower, name: str) -> None:
    """Refuse a tower whose heads are wider than the joint space: their frames do not fit.

    Raises:
        UnsupportedModel: with a sentence that says so.
    """
    pool = tower.readout.pool
    width = pool.d_head if pool else max((block.d_head for block in tower.blocks), default=0)
    if tower.d_joint < width:
        raise UnsupportedModel(
            f"{name}: joint width {tower.d_joint} below head width {width}: a head's frame does "
            "not fit"
        )


def _record(clip: Any, tower: Tower, name: str, pretrained: str) -> ModelRecord:
    pool = tower.readout.pool
    options = open_clip.get_model_preprocess_cfg(clip)
    size = options["size"]
    height, width = (size, size) if isinstance(size, int) else size
    return ModelRecord(
        model=name,
        pretrained=pretrained,
        weights_sha256=weights_digest(clip),
        n_layers=tower.n_layers,
        n_heads=tower.blocks[0].n_heads if tower.blocks else 0,
        d_model=tower.d_model,
        d_head=tower.blocks[0].d_head if tower.blocks else 0,
        d_joint=tower.d_joint,
        pool=tower.readout.kind,
        pool_layer=tower.pool_layer,
        pool_heads=pool.n_heads if pool else None,
        pool_width=pool.d_head if pool else None,
        preprocessing=Preprocessing(
            image_size=(height, width),
            mean=tuple(options["mean"]),
            std=tuple(options["std"]),
            interpolation=options["interpolation"],
            resize_mode=options["resize_mode"],
        ),
    )


def weights_digest(model: nn.Module) -> str:
    """Return the sha256 of all weights: names, types, shapes and bytes, in order of name."""
    total = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()
