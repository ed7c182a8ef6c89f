"""What can be said before a model is loaded, which takes seconds: of its name, and of others'."""

import ast
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

from jobs import console
from pipeline.towers.configs import check_config
from schemas.errors import UnknownName, UsageError, near_path
from schemas.names import NO_WEIGHTS, parse_layers
from warehouse.files.layout import Warehouse
from warehouse.results.classifiers import read_classifier
from warehouse.store.columns import require_columns
from warehouse.store.opened import open_snapshot

# Names that open_clip looks up elsewhere.
SCHEMES = ("local-dir:", "hf-hub:")


def check_model(model: str, layers: str | None = None, pretrained: str | None = None) -> None:
    """Refuse a model name or a tag that nothing is known of, and layers that the model lacks.

    What cannot be known without loading the model is left to `load_model`.

    Raises:
        UnknownName: open_clip has no such model, or no such weights of it.
        UsageError: no such layers, or a config of one's own that is not there or has sizes that
            are none.
    """
    path = _config_file(model)
    if model.endswith(".json") and path is not None:
        check_config(path)
    depth = None if path is None else _layers(path)
    if depth is not None and layers not in (None, "pool"):
        parse_layers(str(layers), depth)
    if path is None or pretrained in (None, NO_WEIGHTS):
        return
    tags = known_tags()
    if tags is not None and not Path(str(pretrained)).is_file():
        own = tags.get(path.stem.removesuffix("-quickgelu"), frozenset())
        if not own:
            raise UsageError(
                f"no file {pretrained}; expected a checkpoint of {model}, or {NO_WEIGHTS} for "
                f"random weights{near_path(Path(str(pretrained)))}"
            )
        if pretrained not in own:
            raise UnknownName.among(f"file or weights of {model}", pretrained, {*own, NO_WEIGHTS})


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


def check_stored(
    warehouse: Path,
    scan: str | None,
    classifier: str | None = None,
    columns: Sequence[str] = (),
) -> None:
    """Refuse a name of what is stored that is not there.

    Raises:
        UnknownName: no such scan, classifier or column.
    """
    opened = open_snapshot(Warehouse(warehouse.absolute()), scan)
    if classifier is not None:
        read_classifier(opened.warehouse, opened.scan, classifier)
    require_columns(opened.scan, opened.shards, columns)


def _config_file(model: str) -> Path | None:
    if model.startswith(SCHEMES):
        return None
    if model.endswith(".json"):
        return Path(model)
    folder = _open_clip()
    if folder is None:
        return None
    known = {path.stem: path for path in (folder / "model_configs").glob("*.json")}
    name = model.replace("/", "-")
    if name not in known:
        raise UnknownName.among("model", model, known)
    return known[name]


def _open_clip() -> Path | None:
    """Return the folder of open_clip, which is not imported: that takes seconds."""
    found = importlib.util.find_spec("open_clip")
    if found is None or not found.submodule_search_locations:
        return None
    return Path(next(iter(found.submodule_search_locations)))


def known_tags() -> dict[str, frozenset[str]] | None:
    """Return the tags of each model's weights, as open_clip's source has them; None if unclear.

    Its table `_PRETRAINED` has each model's `dict(tag=...)`, or the name of a variable that is one.
    The -quickgelu models, which open_clip adds itself, have some of those of the model without.
    """
    folder = _open_clip()
    if folder is None:
        return None
    try:
        tree = ast.parse((folder / "pretrained.py").read_text(encoding="utf-8"))
    except (OSError, SyntaxError):
        return None
    held = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    table = held.get("_PRETRAINED")
    if not isinstance(table, ast.Dict):
        return None
    found = {}
    for key, value in zip(table.keys, table.values, strict=True):
        weights = held.get(value.id) if isinstance(value, ast.Name) else value
        if not isinstance(key, ast.Constant) or not isinstance(weights, ast.Call):
            return None
        found[str(key.value)] = frozenset(tag.arg for tag in weights.keywords if tag.arg)
    return found


def _layers(path: Path) -> int | None:
    """Return the depth of the image encoder; None where its config does not say it in a number."""
    try:
        vision = json.loads(path.read_text(encoding="utf-8"))["vision_cfg"]
        depth = vision["layers"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(depth, int) or depth <= 0:
        return None
    # behind an attention pool, the pool's own heads are one layer more
    return depth + bool(vision.get("attentional_pool"))
