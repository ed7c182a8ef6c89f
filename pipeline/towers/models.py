"""CLIP models: loading one, naming its parts, and refusing what has no exact decomposition."""

import hashlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, cast

import open_clip
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor, nn

from pipeline.towers.checkpoints import load_into, offline_when_unreachable
from pipeline.towers.configs import check_config
from pipeline.towers.half import hold_products
from pipeline.towers.registry import all_families, text_tower_of, tower_of
from pipeline.towers.text_tower import TextTower
from pipeline.towers.tower import Tower
from schemas.config import Precision
from schemas.errors import UnsupportedModel, UsageError, near
from schemas.manifest import ModelRecord, PoolKind, Preprocessing
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
        warnings: what a person should be told about the weights.
    """

    clip: Any
    transform: Callable[[Image.Image], Tensor]
    tokenizer: Callable[..., Tensor]
    record: ModelRecord
    device: torch.device
    dtype: torch.dtype
    warnings: tuple[str, ...] = ()

    @property
    def visual(self) -> Any:
        """The image encoder, as its own library has it."""
        return self.clip.visual

    @cached_property
    def tower(self) -> Tower:
        """The image encoder, as blocks and a read-out."""
        return tower_of(self.clip.visual, self.record.model)

    @cached_property
    def text_tower(self) -> TextTower:
        """The text encoder, as blocks and a read-out.

        Raises:
            UnsupportedModel: its heads are not decomposed.
        """
        return text_tower_of(self.clip, self.record.model)

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
    file = Path(pretrained) if tag is not None and Path(pretrained).is_file() else None
    told: list[str] = []
    with torch.random.fork_rng(), _quiet(logging.getLogger(), told), offline_when_unreachable():
        torch.manual_seed(SEED)
        clip, transform = _create(name, model, tag if file is None else None, precision, device)
    if file is not None:
        load_into(clip, file, model)
    clip.eval().requires_grad_(False)
    hold_products(clip.visual, DTYPES[precision])
    tower = tower_of(clip.visual, model)
    check_supported(tower, model)
    record = _record(clip, tower, name, Path(pretrained).name)
    tokenizer = Tokenizer(name, clip.context_length)
    dtype = DTYPES[precision]
    return LoadedModel(clip, transform, tokenizer, record, device, dtype, tuple(told))


class Tokenizer:
    """A model's tokenizer, loaded when it is first asked: a scan needs none.

    SigLIP's and those of Hugging Face's text towers are fetched from a hub.
    """

    def __init__(self, model: str, context_length: int) -> None:
        """Take open_clip's name of the model."""
        self.model, self.context_length = model, context_length

    @cached_property
    def loaded(self) -> Callable[..., Tensor]:
        """The tokenizer itself.

        Raises:
            UsageError: it is not on this machine and cannot be fetched.
        """
        try:
            with _quiet(logging.getLogger(), []), offline_when_unreachable():
                config = json.dumps(open_clip.get_model_config(self.model))
                found = _tokenizer(self.model, self.context_length, config)
        except (ImportError, OSError, RuntimeError, ValueError, AttributeError) as error:
            raise UsageError(
                f"texts of {self.model} need its tokenizer, which is not here "
                f"({type(error).__name__}): install the extra `transformers`, and have the "
                "tokenizer's files in Hugging Face's cache or the network"
            ) from error
        return found

    @property
    def decode(self) -> Callable[[list[int]], str] | None:
        """What turns token ids into words; None where the tokenizer cannot."""
        return getattr(self.loaded, "decode", None)

    def __call__(self, texts: list[str], **options: Any) -> Tensor:
        """Return token ids [text, place]."""
        return self.loaded(texts, **options)


@lru_cache(maxsize=4)
def _tokenizer(model: str, context_length: int, config: str) -> Callable[..., Tensor]:
    """Load a tokenizer, once for all models of this config in a process: it takes half a second."""
    found: Callable[..., Tensor] = open_clip.get_tokenizer(model, context_length=context_length)
    return found


def _create(
    name: str, model: str, tag: str | None, precision: Precision, device: torch.device
) -> tuple[Any, Callable[[Image.Image], Tensor]]:
    """Build the model, with a tag's weights or random ones.

    Raises:
        UsageError: the config is none, or the weights cannot be had.
    """
    # a family may bring a trunk of its own, registered with timm when its file is imported
    all_families()
    try:
        clip, _, transform = open_clip.create_model_and_transforms(
            name,
            pretrained=None if name.startswith("local-dir:") else tag,
            load_weights=tag is not None,
            require_pretrained=tag is not None,
            pretrained_text=False,
            precision=precision,
            device=device,
        )
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        ImportError,
        LookupError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        if tag is None:
            raise UsageError(
                f"the config of {model} makes no model: {type(error).__name__}: {reason}; see "
                "open_clip's model_configs for what is expected"
            ) from error
        raise UsageError(
            f"the weights {tag!r} of {model} cannot be had: {type(error).__name__}: {reason}; "
            "expected them in Hugging Face's cache, from the network, or as a checkpoint file"
        ) from error
    return clip, transform


@contextmanager
def _quiet(logger: logging.Logger, told: list[str]) -> Iterator[None]:
    """Hold back what open_clip logs: it is said by name here; add to `told` what it warns of."""
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        logger.setLevel(level)
    if any("QuickGELU mismatch" in str(warning.message) for warning in caught):
        told.append(
            "these weights were trained with the other activation (QuickGELU against GELU): "
            "results will be off; use the model's name with -quickgelu, or without it"
        )


def _register(model: str) -> str:
    """Return the open_clip name of `model`, registering a config file under its stem."""
    if model.endswith(".json"):
        path = Path(model)
        check_config(path)
        open_clip.add_model_config(path)
        return path.stem
    if model.startswith("local-dir:"):
        return model
    if "/" not in model and model not in open_clip.list_models():
        raise UsageError(
            f"no model {model!r} in open_clip{near(model, open_clip.list_models())}; headatlas "
            "models lists them; a config of your own is given by its path, ending in .json"
        )
    return model


def _checkpoint(name: str, pretrained: str) -> str:
    """Return `pretrained` when it is a file or a tag of the model.

    A model that brings its weights along (`local-dir:`) has no tag of its own.
    """
    if name.startswith("local-dir:"):
        return pretrained
    if Path(pretrained).is_file():
        return pretrained
    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained not in tags and "/" not in name:
        raise UsageError(
            f"{pretrained!r} is neither a file nor a tag of {name}; "
            f"tags: {', '.join(tags) or 'none'}; or none for random weights{near(pretrained, tags)}"
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
        pool=cast("PoolKind", tower.readout.kind),
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
