"""CLIP models: loading one, naming its parts, and refusing what has no exact decomposition."""

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from jaxtyping import Bool, Float
from open_clip.timm_model import TimmModel
from open_clip.transformer import (
    LayerNorm,
    LayerNormFp32,
    LayerScale,
    ResidualAttentionBlock,
    VisionTransformer,
)
from PIL import Image
from torch import Tensor, nn

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
    def visual(self) -> VisionTransformer:
        """The image encoder."""
        return self.clip.visual

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
    check_supported(clip.visual, model)
    record = _record(clip, name, Path(pretrained).name)
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


def check_supported(visual: Any, name: str) -> None:
    """Refuse, by type, every image encoder whose embedding is not an exact sum over heads.

    Types and not attribute names decide: open_clip's custom block has the same attributes as the
    plain one, and another forward.

    Raises:
        UnsupportedModel: with a sentence that says what is in the way.
    """

    def refuse(what: str, why: str) -> UnsupportedModel:
        return UnsupportedModel(
            f"{name}: {what} cannot be decomposed exactly: {why}; "
            "supported are open_clip's own vision transformers with class-token pooling, or "
            "average pooling before the last LayerNorm"
        )

    if isinstance(visual, TimmModel):
        raise refuse("a timm image tower", "its blocks are not open_clip's and differ by model")
    if type(visual) is not VisionTransformer:
        raise refuse(f"{type(visual).__name__}", "it is no vision transformer")
    if visual.attn_pool is not None:
        raise refuse("attentional pooling", "the pooler mixes all heads' outputs nonlinearly")
    if visual.pool_type not in ("tok", "avg"):
        raise refuse(f"pooling {visual.pool_type!r}", "it returns no single embedding")
    if visual.pool_type == "avg" and not visual.final_ln_after_pool:
        raise refuse(
            "average pooling after the last LayerNorm", "every token has a scale of its own"
        )
    if visual.proj is None or visual.output_tokens:
        raise refuse("a tower without projection or with token output", "encode_image differs")
    for index, block in enumerate(visual.transformer.resblocks):
        _check_block(block, index, refuse)
    if type(visual.ln_post) not in (LayerNorm, LayerNormFp32, nn.LayerNorm):
        raise refuse(f"{type(visual.ln_post).__name__} as last norm", "it is no LayerNorm")
    if visual.proj.shape[1] < _d_head(visual):
        raise refuse(
            f"joint width {visual.proj.shape[1]} below head width {_d_head(visual)}",
            "a head's frame does not fit",
        )


def _check_block(block: Any, index: int, refuse: Callable[[str, str], UnsupportedModel]) -> None:
    if type(block) is not ResidualAttentionBlock:
        raise refuse(
            f"{type(block).__name__} in layer {index}",
            "it may scale or normalise heads before they are added",
        )
    attn: Any = block.attn
    if type(attn) is not nn.MultiheadAttention:
        raise refuse(f"{type(attn).__name__} in layer {index}", "it is no plain attention")
    if not attn.batch_first or attn.bias_k is not None or attn.add_zero_attn:
        raise refuse(f"the attention of layer {index}", "it has options open_clip does not use")
    if not attn._qkv_same_embed_dim:
        raise refuse(f"the attention of layer {index}", "query, key and value widths differ")
    if not all(type(scale) in (nn.Identity, LayerScale) for scale in (block.ls_1, block.ls_2)):
        raise refuse(f"the scales of layer {index}", "they are no LayerScale")


def _d_head(visual: VisionTransformer) -> int:
    attn = visual.transformer.resblocks[0].attn
    return int(attn.embed_dim // attn.num_heads)


def _record(clip: Any, name: str, pretrained: str) -> ModelRecord:
    visual = clip.visual
    blocks = visual.transformer.resblocks
    options = open_clip.get_model_preprocess_cfg(clip)
    size = options["size"]
    height, width = (size, size) if isinstance(size, int) else size
    return ModelRecord(
        model=name,
        pretrained=pretrained,
        weights_sha256=weights_digest(clip),
        n_layers=len(blocks),
        n_heads=blocks[0].attn.num_heads,
        d_model=blocks[0].attn.embed_dim,
        d_head=_d_head(visual),
        d_joint=visual.proj.shape[1],
        pool=visual.pool_type,
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
