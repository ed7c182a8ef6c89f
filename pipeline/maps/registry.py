"""Every method by its name: whatever the files of `pipeline/maps/methods/` declare."""

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Final

from pipeline.maps import methods
from pipeline.maps.method import MapMethod
from pipeline.maps.names import ALL, split_methods
from schemas.errors import UnknownName, UsageError


def _declared() -> dict[str, MapMethod]:
    found: dict[str, MapMethod] = {}
    for file in pkgutil.iter_modules(methods.__path__, f"{methods.__name__}."):
        for one in vars(import_module(file.name)).values():
            if isinstance(one, MapMethod) and one.function.__module__ == file.name:
                assert one.name not in found, f"two map methods are called {one.name}"
                found[one.name] = one
    return found


DECLARED: Final = _declared()
"""Every method, by file and as they stand in it."""
METHODS: Final = {name: method for name, method in DECLARED.items() if method.ready}
"""Those that need nothing besides the model."""

Given = Mapping[str, Mapping[str, str]]
"""Options by method, as they are written."""


def given_by(eclip: Path | None) -> Given:
    """Return what the commands' option `--eclip` gives."""
    return {} if eclip is None else {"eclip": {"checkpoint": str(eclip)}}


def method_named(spec: str, given: Given | None = None) -> MapMethod:
    """Return a method with its options: `NAME` or `NAME:option=value:option=value`.

    Raises:
        UnknownName: there is no method or option of this name.
        UsageError: an option is missing, or its value cannot be read.
    """
    name, *written = spec.split(":")
    if name not in DECLARED:
        raise UnknownName.among("method", name, list(DECLARED))
    options = dict((given or {}).get(name, {}))
    for one in written:
        option, equals, value = one.partition("=")
        if not equals:
            raise UsageError(f"method {spec!r}: expected NAME:option=value, got {one!r}")
        options[option] = value
    chosen = DECLARED[name].choose(options)
    chosen.values()
    return chosen


def methods_named(spec: str, given: Given | None = None) -> dict[str, MapMethod]:
    """Read `all`, or names separated by commas, each with options or without.

    Among all are those that need nothing besides the model, and those whose needs are given.

    Raises:
        UnknownName: there is no method or option of one of the names.
        UsageError: there is no name, an option is missing or cannot be read.
    """
    names = split_methods(spec)
    if names == [ALL]:
        names = [name for name in DECLARED if name in METHODS or name in (given or {})]
    if not names:
        raise UsageError(f"methods {spec!r}: expected all, or names separated by commas")
    found = [method_named(name, given) for name in names]
    return {method.key: method for method in found}
