"""Names of heads, layers and scans, written and read in one place."""

import re

from schemas.errors import UsageError

_HEAD = re.compile(r"L(\d{1,3})H(\d{1,3})", re.IGNORECASE)
_SAFE = re.compile(r"[^A-Za-z0-9._-]+")
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")

# What stands for random weights, where weights are named.
NO_WEIGHTS = "none"
# The kind of result that is of no scan, and its folder in the warehouse.
SEGMENTATION = "segmentation"


def head_name(layer: int, head: int) -> str:
    """Name a head, both indices 0-based: `head_name(22, 11) == "L22H11"`."""
    return f"L{layer}H{head}"


def parse_head(name: str) -> tuple[int, int]:
    """Read `L22H11`, or `l22h11`, as (layer, head).

    Raises:
        UsageError: the text is not a head's name.
    """
    match = _HEAD.fullmatch(name.strip())
    if match is None:
        raise UsageError(f"{name!r} is no head; write layer and head, both from 0, as in L22H11")
    return int(match[1]), int(match[2])


def parse_layers(spec: str, n_layers: int) -> tuple[int, ...]:
    """Read `all`, `last:4`, `18-23` or `7` as sorted 0-based layers of a model with `n_layers`.

    Raises:
        UsageError: the text is none of these, or names a layer the model does not have.
    """
    text = spec.strip().lower()
    if text == "all":
        return tuple(range(n_layers))
    if match := re.fullmatch(r"last:(\d+)", text):
        first, last = n_layers - int(match[1]), n_layers - 1
    elif match := re.fullmatch(r"(\d+)(?:-(\d+))?", text):
        first, last = int(match[1]), int(match[2] or match[1])
    else:
        raise UsageError(
            f"layers {spec!r}: expected all, last:N, A-B or A, as in last:4 or 18-23; or pool, for "
            "a model that pools by attention"
        )
    if not 0 <= first <= last < n_layers:
        raise UsageError(f"layers {spec!r}: this model has layers 0 to {n_layers - 1}")
    return tuple(range(first, last + 1))


def scan_name(dataset: str, model: str, weights_sha256: str) -> str:
    """Return the default name of a scan, `DATASET--MODEL--WEIGHTS8`."""
    return f"{safe_name(dataset)}--{safe_name(model)}--{weights_sha256[:8]}"


def safe_name(text: str) -> str:
    """Turn any text into letters, digits, dot, underscore and hyphen, for use in a path."""
    return _SAFE.sub("-", text.strip()).strip("-.") or "unnamed"


def check_name(text: str, what: str) -> str:
    """Return `text` when it can serve as a file name and SQL value for `what`.

    Raises:
        UsageError: it is empty, too long, or has characters other than letters, digits, `._-`.
    """
    if _IDENTIFIER.fullmatch(text) is None:
        raise UsageError(
            f"{what} {text!r}: expected letters, digits, dot, underscore or hyphen; "
            f"try {safe_name(text)!r}"
        )
    return text
