"""Every model of open_clip's list: do its pictures and texts decompose, their heads, its tags."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import open_clip
import torch
from open_clip.model import CustomTextCLIP, _build_text_tower, _build_vision_tower
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pipeline.towers.models import check_supported
from pipeline.towers.registry import text_tower_of, tower_of
from pipeline.towers.tower import Tower
from schemas.errors import UnsupportedModel

# Why a config cannot even be built here, and not that its tower would be refused.
NOT_BUILT = (ArithmeticError, AssertionError, ImportError, LookupError, RuntimeError, TypeError)

_FILLING = {
    getattr(home, name)
    for home, names in (
        (Tensor, ("add_", "clamp_", "erfinv_", "fill_", "mul_", "normal_", "uniform_", "zero_")),
        (nn.init, ("kaiming_uniform_", "normal_", "uniform_")),
    )
    for name in names
}


@dataclass(frozen=True)
class ListedTexts:
    """The text encoder of one config.

    Attributes:
        reason: why `headatlas texts` cannot decompose it; None if it can.
        layers: blocks.
        heads: of a block.
        width: of a stored vector.
        read_out: which token is read.
    """

    reason: str | None
    layers: int = 0
    heads: int = 0
    width: int = 0
    read_out: str = ""


@dataclass(frozen=True)
class Listed:
    """One config of open_clip's list.

    Attributes:
        model: its name.
        reason: why it does not decompose; None if it does.
        layers: blocks of the trunk.
        heads: of a block.
        width: of a stored vector: of the heads that write to the embedding.
        pool_heads: of an attention pool, which is layer `layers`; None without one.
        read_out: how the embedding is read.
        family: which adapter reads it.
        tags: pretrained weights of that name.
        texts: its text encoder.
    """

    model: str
    reason: str | None
    layers: int
    heads: int
    width: int
    pool_heads: int | None
    read_out: str
    family: str
    tags: tuple[str, ...]
    texts: ListedTexts


def list_models(names: list[str] | None = None) -> Iterator[Listed]:
    """Yield every config (or those named), built on the meta device: no weights, no memory."""
    for name in names or open_clip.list_models():
        yield _listed(name)


def _listed(name: str) -> Listed:
    tags = tuple(open_clip.list_pretrained_tags_by_model(name))
    try:
        tower = tower_of(bare_visual(name), name)
        check_supported(tower, name)
    except UnsupportedModel as error:
        return _refused(name, str(error).removeprefix(f"{name}: "), tags)
    except NOT_BUILT as error:
        return _refused(name, _not_built(error), tags)
    pool = tower.readout.pool
    first = tower.blocks[0] if tower.blocks else None
    return Listed(
        model=name,
        reason=None,
        layers=tower.n_layers,
        heads=first.n_heads if first else 0,
        width=pool.d_head if pool else first.d_head if first else 0,
        pool_heads=pool.n_heads if pool else None,
        read_out=tower.readout.kind,
        family=tower.family,
        tags=tags,
        texts=_texts(name),
    )


def _refused(name: str, reason: str, tags: tuple[str, ...]) -> Listed:
    texts = ListedTexts("without a scan of its pictures there is nothing to keep them with")
    return Listed(name, reason, 0, 0, 0, None, "", "", tags, texts)


def _texts(name: str) -> ListedTexts:
    other = open_clip.get_model_config(name)["text_cfg"].get("hf_model_name")
    if other:
        return ListedTexts(f"encoded by Hugging Face's {other}, whose heads are not decomposed")
    try:
        tower: Tower = text_tower_of(_bare_text(name), name)
        check_supported(tower, name)
    except UnsupportedModel as error:
        return ListedTexts(str(error).removeprefix(f"{name}: "))
    except NOT_BUILT as error:
        return ListedTexts(_not_built(error))
    block = tower.blocks[0]
    return ListedTexts(None, tower.n_layers, block.n_heads, block.d_head, tower.readout.kind)


def _not_built(error: Exception) -> str:
    return f"cannot be built: {' '.join(str(error).split())[:120]}"


def bare_visual(name: str, **smaller: Any) -> nn.Module:
    """Return a config's image encoder on the meta device; `smaller` replaces sizes of it."""
    config = deepcopy(open_clip.get_model_config(name))
    vision = {**config["vision_cfg"], **smaller}
    vision.pop("timm_model_pretrained", None)
    with _bare():
        found: nn.Module = _build_vision_tower(
            config["embed_dim"], vision, config.get("quick_gelu", False)
        )
    return found.eval()


def _bare_text(name: str) -> CustomTextCLIP:
    """Return a model that has a config's text encoder alone, on the meta device."""
    config = deepcopy(open_clip.get_model_config(name))
    model = CustomTextCLIP.__new__(CustomTextCLIP)
    nn.Module.__init__(model)
    with _bare():
        model.text = _build_text_tower(
            config["embed_dim"], config["text_cfg"], config.get("quick_gelu", False)
        )
    return model.eval()


class _Unfilled(TorchFunctionMode):
    """Passes over what fills tensors: those of the meta device hold nothing, and it takes long."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Return the tensor as it is, or what `func` does."""
        given = kwargs or {}
        if func in _FILLING:
            filled: Tensor = args[0] if args else given["tensor"]
            if filled.is_meta:
                return filled
        return func(*args, **given)


@contextmanager
def _bare() -> Iterator[None]:
    """Build on the meta device, without values, and without what is said of it."""
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.CRITICAL)
    try:
        with torch.device("meta"), _Unfilled(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger().setLevel(level)
