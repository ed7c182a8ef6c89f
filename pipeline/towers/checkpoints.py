"""Checkpoint files as people have them: read safely, their names brought to open_clip's."""

import pickle
import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from open_clip.convert import convert_state_dict
from open_clip.model import (
    convert_to_custom_text_state_dict,
    resize_pos_embed,
    resize_text_pos_embed,
)
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from schemas.errors import UsageError

# What trainers put around a model, where they put several things side by side.
WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
DEEPEST = 6
# What every name of an image encoder's weights begins with.
OWN = "visual."
# What OpenAI's TorchScript files hold beside weights.
NO_WEIGHTS_THERE = ("input_resolution", "context_length", "vocab_size")
LFS = b"version https://git-lfs"
# What a torch file begins with: a zip, or a pickle.
TORCH = (b"PK\x03\x04", b"\x80\x02")
SECONDS_TO_CONNECT = 3.0


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name, without trainers' wrappers and prefixes.

    Safetensors, PyTorch files read with weights_only, or TorchScript (its weights alone).

    Raises:
        UsageError: it is none of these, is cut short, or holds no weights.
    """
    with path.open("rb") as file:
        head = file.read(len(LFS))
    if head == LFS:
        raise UsageError(
            f"{path} is a Git LFS pointer, not the weights themselves; fetch them with git lfs pull"
        )
    try:
        found = load_file(path) if _is_safetensors(path) else _torch_file(path)
    except SafetensorError:
        raise UsageError(f"{path} is no whole safetensors file; is it cut short?") from None
    except pickle.UnpicklingError:
        raise UsageError(
            f"{path} holds Python objects beside tensors, which are not loaded, since they can run "
            "any code; expected a state dict: torch.save(model.state_dict(), FILE), or safetensors"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError):
        raise UsageError(f"{path} is no PyTorch checkpoint, or is cut short") from None
    return _plain_names(path, found)


def _is_safetensors(path: Path) -> bool:
    """Whether a file is safetensors, by what it holds; one that is neither, by its name."""
    with path.open("rb") as file:
        head = file.read(9)
    if head.startswith(TORCH):
        return False
    # eight bytes of a length, then JSON
    return head[8:] == b"{" or path.suffix.lower() == ".safetensors"


def _torch_file(path: Path) -> Any:
    with warnings.catch_warnings():
        # torch warns that a TorchScript archive is one, and that its loader is old
        warnings.simplefilter("ignore")
        try:
            # not by its path: torch takes what is called .safetensors for such
            with path.open("rb") as file:
                return torch.load(file, map_location="cpu", weights_only=True)
        except RuntimeError as error:
            if "TorchScript" not in str(error) and "torch.jit" not in str(error):
                raise
        state = torch.jit.load(str(path), map_location="cpu").state_dict()
    return {name: tensor for name, tensor in state.items() if name not in NO_WEIGHTS_THERE}


def _plain_names(path: Path, found: Any) -> dict[str, Tensor]:
    for _ in range(DEEPEST):
        inside = _inside(found)
        if inside is None:
            break
        found = found[inside]
    if not isinstance(found, Mapping):
        raise UsageError(f"{path} holds {type(found).__name__}; expected tensors by name")
    state = {str(k): v for k, v in found.items() if isinstance(v, Tensor)}
    if not state:
        there = ", ".join(sorted(map(str, found))[:6]) or "nothing"
        raise UsageError(f"{path} holds no tensors by name; there is {there}")
    prefix = _prefix(path, state)
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _inside(found: Any) -> str | None:
    """Return the name under which a trainer has put the weights; None where they lie open."""
    if not isinstance(found, Mapping):
        return None
    known = next((name for name in WRAPPERS if isinstance(found.get(name), Mapping)), None)
    if known is not None or any(isinstance(value, Tensor) for value in found.values()):
        return known
    for deep in (False, True):
        holding = [name for name, value in found.items() if _holds_tensors(value, deep=deep)]
        if holding:
            return holding[0] if len(holding) == 1 else None
    return None


def _holds_tensors(value: Any, *, deep: bool) -> bool:
    return isinstance(value, Mapping) and any(
        isinstance(inside, Tensor) or (deep and _holds_tensors(inside, deep=True))
        for inside in value.values()
    )


def _prefix(path: Path, state: Mapping[str, Tensor]) -> str:
    """Return what a trainer has put before the names of the image encoder's weights.

    Raises:
        UsageError: there are two encoders, as of a student and a teacher.
    """
    found = {name.partition(OWN)[0] for name in state if f".{OWN}" in f".{name}"}
    if len(found) > 1:
        several = ", ".join(repr(prefix) for prefix in sorted(found)[:4])
        raise UsageError(
            f"{path} holds the weights of several models, before whose names stands {several}; "
            "save one of them"
        )
    return found.pop() if found else ""


def load_into(clip: nn.Module, path: Path, model: str) -> None:
    """Load a checkpoint file into a model.

    Raises:
        UsageError: as `read_weights`; or it is another model's.
    """
    state = convert_state_dict(clip, read_weights(path))
    if "positional_embedding" in state and not hasattr(clip, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    own = clip.state_dict()
    for name in ("logit_scale", "logit_bias"):
        if name in state and name in own:
            state[name] = state[name].reshape(own[name].shape)
    if "logit_bias" in own and "logit_bias" not in state:
        state["logit_bias"] = torch.zeros_like(own["logit_bias"])
    state = {k: v for k, v in state.items() if not k.endswith("embeddings.position_ids")}
    try:
        resize_pos_embed(state, clip)
        resize_text_pos_embed(state, clip)
    except (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, ValueError):
        raise UsageError(f"{path} does not fit {model}: its position embeddings differ") from None
    _check_fit(own, state, path, model)
    clip.load_state_dict(state)


def _check_fit(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], path: Path, model: str
) -> None:
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    differ = [n for n in sorted(own.keys() & state.keys()) if own[n].shape != state[n].shape]
    if differ:
        name = differ[0]
        got, expected = tuple(state[name].shape), tuple(own[name].shape)
        raise UsageError(
            f"{path} does not fit {model}: {name} is {got}, expected {expected}; name the model "
            "that it was trained as"
        )
    if missing or extra:
        what = f"lacks {len(missing)} of {len(own)} weights" if missing else "has weights too many"
        raise UsageError(
            f"{path} does not fit {model}: it {what}, first {(missing or extra)[0]}; name the "
            "model that it was trained as"
        )


@contextmanager
def offline_when_unreachable() -> Iterator[None]:
    """Have Hugging Face's client use its cache alone where the hub cannot be reached.

    By itself it tries for most of a minute.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _reachable(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _reachable(address: str) -> bool:
    """Whether a server answers at all; whether through a proxy is not for us to try."""
    import urllib.request

    if urllib.request.getproxies():
        return True
    parts = urlparse(address)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        socket.create_connection((parts.hostname or "", port), SECONDS_TO_CONNECT).close()
    except OSError:
        return False
    return True
