"""A model's config as a person wrote it: what is wrong with it is said before it is built."""

import json
from pathlib import Path
from typing import Any

from schemas.errors import UsageError, near_path

_SIZES = (
    *("width", "layers", "heads", "head_width", "patch_size", "image_size"),
    *("context_length", "vocab_size"),
)


def check_config(path: Path) -> None:
    """Refuse a model config that is not there, or whose sizes are no sizes.

    Raises:
        UsageError: with one line that names the first that is wrong.
    """
    if not path.is_file():
        raise UsageError(f"no model config {path}; expected a file{near_path(path)}")
    try:
        config = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        deep = isinstance(error, RecursionError)
        reason = "nested too deeply" if deep else " ".join(str(error).split())
        raise UsageError(f"{path} is no JSON: {reason}") from None
    vision = config.get("vision_cfg") if isinstance(config, dict) else None
    if not isinstance(vision, dict) or not isinstance(config.get("text_cfg"), dict):
        raise UsageError(f"{path}: expected embed_dim, vision_cfg and text_cfg, as open_clip has")
    _need_size(path, "embed_dim", config.get("embed_dim"))
    for part in ("vision_cfg", "text_cfg"):
        used = _sizes_used(part, config[part])
        for key in _SIZES:
            value = config[part].get(key)
            if key not in config[part] or (value is None and key not in used):
                # null is what open_clip's own configs have for a size that their tower has not
                continue
            for one in value if isinstance(value, list) else [value]:
                _need_size(path, f"{part}.{key}", one)
    if vision.get("timm_model_name") or isinstance(vision.get("layers"), list):
        return
    size, patch = (_pair(vision.get(k, d)) for k, d in (("image_size", 224), ("patch_size", 16)))
    if size[0] < patch[0] or size[1] < patch[1]:
        raise UsageError(f"{path}: image_size {size} is smaller than patch_size {patch}")
    width, head = vision.get("width", 768), vision.get("head_width", 64)
    if width % head:
        raise UsageError(f"{path}: width {width} is no multiple of head_width {head}")


def _sizes_used(part: str, config: dict[str, Any]) -> tuple[str, ...]:
    """Return which sizes of a config its tower is built with, where they are given."""
    if part == "text_cfg":
        return () if config.get("hf_model_name") else ("width", "layers", "heads")
    if config.get("timm_model_name"):
        return ("image_size",)
    if isinstance(config.get("layers"), list):
        return ("width", "layers", "head_width", "image_size")
    return ("width", "layers", "head_width", "patch_size", "image_size")


def _need_size(path: Path, name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{path}: {name} is {value!r}, expected a whole number from 1")


def _pair(value: Any) -> tuple[int, int]:
    return (value[0], value[-1]) if isinstance(value, list) else (value, value)
