"""What can be said of a model before it is loaded: loading one takes seconds, its name none."""

import importlib.util
import json
from pathlib import Path

from jobs import console
from schemas.errors import UnknownName, UsageError
from schemas.names import NO_WEIGHTS, parse_layers

# Names that open_clip looks up elsewhere.
SCHEMES = ("local-dir:", "hf-hub:")


def check_model(model: str, layers: str | None = None) -> None:
    """Refuse a model name that nothing is known of, and layers that the model does not have.

    What cannot be known without loading the model is left to `load_model`.

    Raises:
        UnknownName: open_clip has no such model.
        UsageError: no such layers.
    """
    path = _config_file(model)
    depth = None if path is None else _layers(path)
    if depth is not None and layers not in (None, "pool"):
        parse_layers(str(layers), depth)


def weights_given(model: str, pretrained: str | None) -> str:
    """Return what stands for the weights of a model that is named; warn where they are random.

    Raises:
        UsageError: nothing does: weights are never random without a word.
    """
    if pretrained is None:
        raise UsageError(
            f"--pretrained is missing: which weights of {model}? Give an open_clip tag, a "
            f"checkpoint file, or {NO_WEIGHTS} for random ones, which say nothing"
        )
    if pretrained == NO_WEIGHTS:
        console.warn(f"random weights: what is measured of {model} means nothing")
    return pretrained


def _config_file(model: str) -> Path | None:
    if model.startswith(SCHEMES):
        return None
    if model.endswith(".json"):
        return Path(model)
    found = importlib.util.find_spec("open_clip")
    if found is None or not found.submodule_search_locations:
        return None
    folder = Path(next(iter(found.submodule_search_locations))) / "model_configs"
    known = {path.stem: path for path in folder.glob("*.json")}
    name = model.replace("/", "-")
    if name not in known:
        raise UnknownName.among("model", model, known)
    return known[name]


def _layers(path: Path) -> int | None:
    """Return the depth of the image encoder; None where its config does not say it in a number."""
    try:
        vision = json.loads(path.read_text(encoding="utf-8"))["vision_cfg"]
        depth = vision["layers"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not isinstance(depth, int) or depth <= 0:
        return None
    # behind an attention pool, the pool's own heads are one layer more
    return depth + bool(vision.get("attentional_pool"))
