"""The kinds of result, one file each: a file that declares `KIND` is all that a new kind takes."""

import pkgutil
from importlib import import_module
from typing import Final

from schemas.errors import UnknownName
from schemas.kinds import Kind
from schemas.relations import Table


def _found() -> dict[str, Kind]:
    modules = sorted(module.name for module in pkgutil.iter_modules(__path__))
    kinds: list[Kind] = [import_module(f"{__name__}.{name}").KIND for name in modules]
    return {kind.name: kind for kind in kinds}


KINDS: Final = _found()
"""Every kind by its name."""

TABLES: Final[tuple[Table, ...]] = tuple(t for kind in KINDS.values() for t in kind.tables)
"""What SQL shows of all results."""


def kind_named(name: str) -> Kind:
    """Return a kind.

    Raises:
        UnknownName: there is none of that name.
    """
    if name not in KINDS:
        raise UnknownName.among("kind of result", name, KINDS)
    return KINDS[name]
