"""Every model of open_clip's list: whether it decomposes, its heads, its read-out, its tags."""

import logging
import warnings
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import open_clip
import torch
from open_clip.model import _build_vision_tower
from torch import nn

from pipeline.towers.registry import tower_of
from schemas.errors import UnsupportedModel

# Why a config cannot even be built here, and not that its tower would be refused.
NOT_BUILT = (ArithmeticError, AssertionError, ImportError, LookupError, RuntimeError, TypeError)


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


def list_models(names: list[str] | None = None) -> Iterator[Listed]:
    """Yield every config (or those named), built on the meta device: no weights, no memory."""
    for name in names or open_clip.list_models():
        yield _listed(name)


def _listed(name: str) -> Listed:
    tags = tuple(open_clip.list_pretrained_tags_by_model(name))
    try:
        tower = tower_of(bare_visual(name), name)
    except UnsupportedModel as error:
        return Listed(name, str(error).removeprefix(f"{name}: "), 0, 0, 0, None, "", "", tags)
    except NOT_BUILT as error:
        reason = f"cannot be built: {' '.join(str(error).split())[:120]}"
        return Listed(name, reason, 0, 0, 0, None, "", "", tags)
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
    )


def bare_visual(name: str, **smaller: Any) -> nn.Module:
    """Return a config's image encoder on the meta device; `smaller` replaces sizes of it."""
    config = deepcopy(open_clip.get_model_config(name))
    vision = {**config["vision_cfg"], **smaller}
    vision.pop("timm_model_pretrained", None)
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.CRITICAL)
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found: nn.Module = _build_vision_tower(
                config["embed_dim"], vision, config.get("quick_gelu", False)
            )
    finally:
        logging.getLogger().setLevel(level)
    return found.eval()
