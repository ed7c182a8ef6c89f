"""The formats of source, found by looking through this package."""

import pkgutil
from functools import cache
from importlib import import_module

import pipeline.sources
from pipeline.sources.base import Format
from pipeline.sources.folder import FORMAT as PLAIN


@cache
def formats() -> tuple[Format, ...]:
    """Return every format, in the order of their modules' names."""
    names = sorted(module.name for module in pkgutil.iter_modules(pipeline.sources.__path__))
    modules = [import_module(f"{pipeline.sources.__name__}.{name}") for name in names]
    found = [vars(module).get("FORMAT") for module in modules]
    return tuple(one for one in found if isinstance(one, Format))


def holder(uri: str) -> Format:
    """Return the format inside whose file a picture lies; the folder's for a file of its own."""
    return next((one for one in formats() if one.holds(uri)), PLAIN)
