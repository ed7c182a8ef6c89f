"""Names of the methods of maps, read off their files: importing one takes torch, and seconds."""

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from schemas.errors import UnknownName

ALL: Final = "all"
METHODS_FOLDER: Final = Path(__file__).parent / "methods"


def split_methods(spec: str) -> list[str]:
    """Return the methods of `A,B:option=value`; of `all`, in any case, that word alone."""
    names = [name.strip() for name in spec.split(",") if name.strip()]
    return [ALL] if len(names) == 1 and names[0].lower() == ALL else names


def check_methods(specs: Iterable[str]) -> None:
    """Refuse a method, as `NAME` or `NAME:option=value`, whose name no file declares.

    Raises:
        UnknownName: there is none of this name.
    """
    known = declared_names()
    for spec in specs:
        name = spec.partition(":")[0]
        if known is not None and name not in known:
            raise UnknownName.among("method", name, known)


def declared_names() -> tuple[str, ...] | None:
    """Return the names that stand in `@map_method("NAME", ...)`; None where one is not written so.

    They are those of `pipeline.maps.registry.DECLARED`, in its order.
    """
    found = []
    for path in sorted(METHODS_FOLDER.glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            for call in getattr(node, "decorator_list", ()):
                if not isinstance(call, ast.Call) or ast.unparse(call.func) != "map_method":
                    continue
                if not call.args or not isinstance(call.args[0], ast.Constant):
                    return None
                found.append(str(call.args[0].value))
    return tuple(found)
