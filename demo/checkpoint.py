"""Saving training so that a killed run goes on, and exporting what open_clip loads."""

import io
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from open_clip.model import CLIP
from safetensors.torch import save
from torch.optim import Optimizer

from demo.plan import Plan
from demo.words import Words
from schemas.errors import UsageError


@dataclass
class Run:
    """A training run between two steps: everything that the next step depends on.

    `step` counts finished steps, `seconds` the time they took, over all restarts.
    """

    plan: Plan
    model: CLIP
    optimizers: tuple[Optimizer, ...]
    step: int = 0
    seconds: float = 0.0


def _replace(path: Path, content: bytes) -> None:
    """Write `content` beside `path`, force it to disk, and rename it into place."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def store(run: Run, path: Path) -> None:
    """Write the run so that `resume` restores it exactly; a kill leaves the old file or the new."""
    buffer = io.BytesIO()
    torch.save(
        {
            "plan": asdict(run.plan),
            "step": run.step,
            "seconds": run.seconds,
            "model": run.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in run.optimizers],
        },
        buffer,
    )
    _replace(path, buffer.getvalue())


def resume(run: Run, path: Path) -> None:
    """Bring `run` to the state stored at `path`, if there is one.

    Raises UsageError if the stored run followed another plan.
    """
    if not path.exists():
        return
    stored = torch.load(path, map_location="cpu", weights_only=True)
    plan = asdict(run.plan)
    if stored["plan"] != plan:
        odd = sorted(key for key in plan if stored["plan"].get(key) != plan[key])
        raise UsageError(
            f"{path} holds a run with another {', '.join(odd)}; finish it with the same options, "
            "give another --work folder, or remove the file to start again"
        )
    run.model.load_state_dict(stored["model"])
    for optimizer, state in zip(run.optimizers, stored["optimizers"], strict=True):
        optimizer.load_state_dict(state)
    run.step, run.seconds = stored["step"], stored["seconds"]


def export(
    run: Run, words: Words, path: Path, *, vocab_size: int, facts: Mapping[str, object]
) -> None:
    """Write float16 weights that plain `open_clip.create_model(name, pretrained=path)` loads.

    The file's header carries the plan, the steps and seconds spent, and `facts`, as JSON under
    "training".
    """
    weights = {name: tensor.detach().cpu() for name, tensor in run.model.state_dict().items()}
    weights["token_embedding.weight"] = words.expand(weights["token_embedding.weight"], vocab_size)
    told = {"plan": asdict(run.plan), "step": run.step, "seconds": round(run.seconds), **facts}
    path.parent.mkdir(parents=True, exist_ok=True)
    halves = {name: tensor.half().contiguous() for name, tensor in weights.items()}
    _replace(path, save(halves, metadata={"training": json.dumps(told)}))
