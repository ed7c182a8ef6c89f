"""Which family an encoder is of: asked of each module of `families`, by type."""

import importlib
import pkgutil
from functools import cache
from types import ModuleType
from typing import Any

from pipeline.towers import families
from pipeline.towers.text_tower import TextTower
from pipeline.towers.tower import Family, Refused, Tower
from schemas.errors import UnsupportedModel


@cache
def _modules() -> tuple[ModuleType, ...]:
    return tuple(
        importlib.import_module(f"{families.__name__}.{found.name}")
        for found in sorted(pkgutil.iter_modules(families.__path__), key=lambda m: m.name)
    )


@cache
def all_families() -> tuple[Family, ...]:
    """Return the families, one for each module of the package that has a `FAMILY`."""
    return tuple(module.FAMILY for module in _modules() if hasattr(module, "FAMILY"))


def tower_of(visual: Any, name: str = "this model") -> Tower:
    """Return the tower of an image encoder.

    Types and not attribute names decide: open_clip's custom block has the same attributes as the
    plain one, and another forward.

    Raises:
        UnsupportedModel: no family claims it, or its family refuses it, with the reason.
    """
    try:
        for family in all_families():
            if family.claims(visual):
                return family.tower(visual)
    except Refused as error:
        raise UnsupportedModel(f"{name}: {error}") from None
    known = ", ".join(family.name for family in all_families() if family.name != "refused")
    what = type(getattr(visual, "trunk", visual)).__name__
    raise UnsupportedModel(
        f"{name}: no head of {what} is known to write linearly into the embedding; families of "
        f"which it is: {known}"
    )


def text_tower_of(clip: Any, name: str = "this model") -> TextTower:
    """Return the text tower of a whole model, by types as `tower_of`.

    Raises:
        UnsupportedModel: it is not open_clip's own, or has an option with which no head of it
            writes linearly.
    """
    known = [module.TEXT_FAMILY for module in _modules() if hasattr(module, "TEXT_FAMILY")]
    try:
        for family in known:
            if family.claims(clip):
                found: TextTower = family.tower(clip)
                return found
    except Refused as error:
        raise UnsupportedModel(f"{name}: {error}") from None
    what = type(getattr(clip, "text", clip)).__name__
    raise UnsupportedModel(
        f"{name}: its texts are encoded by {what}, whose heads are not decomposed; expected "
        f"{', '.join(family.name for family in known)}. Its image encoder is not concerned"
    )
