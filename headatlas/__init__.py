"""HeadAtlas as a library: every command is a function.

    import headatlas as ha

    done = ha.scan("pictures/", model="ViT-B-16", pretrained="laion2b_s34b_b88k", warehouse="atlas")
    ha.publish(warehouse="atlas")
    ha.sql("FROM heads ORDER BY variance_share DESC LIMIT 5", warehouse="atlas")

`pool import` is `ha.pool_import`. A command's options are keywords, with the defaults of the
command line; what is returned is a frozen dataclass, or an Arrow table. Errors are those of
`ha.errors`. A function publishes only with `publish=True`, and says when it has not. Nothing heavy
is imported before a function needs it.
"""

import importlib
import importlib.metadata
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from schemas import errors

__all__ = ["__version__", "errors"]

PACKAGES = ("schemas", "pipeline", "warehouse", "demo", "jobs")
_HOME = Path(__file__).resolve().parents[1]


def _claim() -> None:
    """Import our packages from beside this one, whatever else is called `jobs` in this folder.

    Raises:
        ImportError: another module of such a name is imported already.
    """
    sys.path.insert(0, str(_HOME))
    try:
        for name in PACKAGES:
            found = importlib.import_module(name)
            origin = getattr(found, "__file__", None)
            if origin is None or Path(origin).resolve().parent != _HOME / name:
                raise ImportError(
                    f"`{name}` is imported already, from {origin or 'a folder without __init__'}: "
                    f"import headatlas before it, or rename it; expected {_HOME / name}"
                )
    finally:
        sys.path.remove(str(_HOME))


_claim()


def _version() -> str:
    try:
        return importlib.metadata.version("headatlas")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


__version__ = _version()


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("schemas.errors")
    from jobs.functions import function_named

    found = function_named(name)
    if found is None:
        raise AttributeError(f"module 'headatlas' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    from jobs.functions import names

    return sorted({*__all__, *names()})
