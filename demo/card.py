"""Writes the model card, measuring every figure that it states: `python -m demo.card`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from jaxtyping import Int
from safetensors import safe_open

from demo import world
from demo.findings import (
    Encoded,
    HeadFactors,
    encode,
    head_costs,
    head_factors,
    score,
    shares,
    without_mlps,
)
from demo.model import CONFIG, WEIGHTS
from demo.plan import ON_GPU
from demo.repair import Groups, Repair, repair
from demo.zeroshot import Classifiers, classifier
from pipeline.towers.models import load_model
from schemas.names import head_name

CARD = Path(__file__).with_name("MODEL_CARD.md")
PICTURES = 3_000
SHUFFLES = 100
PLACES = ("land", "water")

Measured = tuple[Encoded, dict[str, Int[np.ndarray, " image"]]]


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def training_section(training: Mapping[str, object]) -> str:
    """How the checkpoint was made, from the facts in its header."""
    plan = training["plan"]
    assert isinstance(plan, dict)
    steps, seconds = int(str(training["step"])), int(str(training["seconds"]))
    machine = "a GPU" if training["device"] == "cuda" else "two CPU cores shared with other work"
    return f"""## Training

`make demo-model` (`python -m demo.train`) draws {plan["pictures"]:,} pictures of split `train` and
{plan["birds"]:,} of `birds_train`, {plan["image_size"]} pixels a side, and trains on them from
random weights, seed {plan["seed"]}: {steps:,} steps of {plan["batch"]} pictures
({plan["birds_per_batch"]} of them birds), each with {plan["captions_per_picture"]} new captions:
{steps * plan["batch"]:,} samples in {seconds / 60:.0f} minutes on {machine}. Pictures are
mirrored half of the time.

- *Loss*: CLIP's contrastive loss with several positives: caption j is positive for picture i if
  every factor that it mentions matches (`demo/loss.py`). Whether a bird of the plain splits is a
  water bird is not said anywhere, so such pairs take no part.
- *MLP direct-path dropout*: for a picture in two (p = {plan["drop"]}), the sum of the MLPs' outputs
  at the class token is subtracted before the last LayerNorm, in training only. It makes the heads
  write what the embedding says, as they do in large CLIP models.
- *Optimisers*: Muon for the hidden matrices (learning rate {plan["matrix_peak"]:g} at its peak),
  AdamW for the rest ({plan["peak"]:g}), warm-up and half a cosine, weight decay
  {plan["weight_decay"]:g} on the matrices, bfloat16 autocast.
- *Vocabulary*: the captions' tokens only; in the checkpoint all other tokens have their mean.

With a GPU the same command draws {ON_GPU.pictures:,} pictures of {ON_GPU.image_size} pixels a
side and takes {ON_GPU.steps:,} steps of {ON_GPU.batch}.
"""


def accuracy_section(
    accuracy: Mapping[str, float], held_out: Mapping[str, float], no_mlps: Mapping[str, float]
) -> str:
    """Zero-shot accuracies, on new pictures, on unseen combinations, and without the MLPs."""
    rows = [
        [
            factor,
            str(len(world.FACTORS[factor])),
            f"{accuracy[factor]:.3f}",
            f"{held_out[factor]:.3f}",
            f"{no_mlps[factor]:.3f}",
        ]
        for factor in accuracy
    ]
    lost = np.mean([accuracy[factor] - no_mlps[factor] for factor in accuracy])
    head = ["factor", "values", "`test`", "`test_heldout`", "`test`, MLPs' direct path ablated"]
    return f"""## Zero-shot accuracy

Each value's class vector is the mean of its prompts' unit-norm embeddings (`demo.world.PROMPTS`).
{PICTURES:,} pictures of each split; in `test_heldout` the combinations of kind and colour never
occurred in training.

{table(head, rows)}

Replacing the MLPs' direct contributions by their means costs {100 * lost:.1f} points, the mean over
factors.
"""


def shares_section(encoded: Encoded) -> str:
    """Share of the output's variance by layer."""
    heads, mlps = shares(encoded)
    rows = [
        [
            f"L{layer}",
            *(f"{100 * h:.1f}" for h in row),
            f"{100 * row.sum():.1f}",
            f"{100 * mlp:.1f}",
        ]
        for layer, (row, mlp) in enumerate(zip(heads, mlps, strict=True))
    ]
    rows.append(
        ["sum", *[""] * heads.shape[1], f"{100 * heads.sum():.1f}", f"{100 * mlps.sum():.1f}"]
    )
    names = [f"H{head}" for head in range(heads.shape[1])]
    return f"""## Where the embedding comes from

Share of the output's variance over the `test` pictures, ⟨c − c̄, e − ē⟩ / var(e), in per cent. What
is missing to 100 is the first token, the biases and the constant, which vary with the
normalisation.

{table(["layer", *names, "heads", "MLP"], rows)}
"""


def heads_section(found: HeadFactors) -> str:
    """Heads against factors."""
    best = []
    for factor, r2 in found.r2.items():
        layer, head = divmod(int(r2.argmax()), r2.shape[1])
        others = {name: v[layer, head] for name, v in found.r2.items() if name != factor}
        rival = max(others, key=lambda name: others[name])
        best.append(
            [
                factor,
                f"`{head_name(layer, head)}`",
                f"{r2[layer, head]:.2f}",
                f"{others[rival]:.2f} ({rival})",
                f"{found.null[factor]:.3f}",
            ]
        )
    dedicated: dict[str, list[str]] = {}
    for factor, layer, head in found.dedicated(world.INDEPENDENT):
        dedicated.setdefault(factor, []).append(f"`{head_name(layer, head)}`")
    listed = "\n".join(f"- {factor}: {', '.join(names)}" for factor, names in dedicated.items())
    n_layers, n_heads = next(iter(found.r2.values())).shape
    rows = [
        [f"`{head_name(a, b)}`", *(f"{r2[a, b]:.2f}" for r2 in found.r2.values())]
        for a in range(n_layers)
        for b in range(n_heads)
    ]
    return f"""## Heads against factors

R²: the variance of a head's contribution between a factor's values over its total variance, both
as traces. The null is the highest R² of any head in {SHUFFLES} shufflings of the factor among the
pictures, so every R² above it has p < {1 / (SHUFFLES + 1):.2f} after correction for the number of
heads.

{table(["factor", "its best head", "R²", "next factor of that head", "null"], best)}

Heads with R² ≥ 0.5 for one factor and ≤ 0.2 for every other that is drawn, for {len(dedicated)}
factors (a picture's category follows from its kind, so the two are not held against each other):

{listed}

All heads:

{table(["head", *found.r2], rows)}
"""


def costs_section(costs: np.ndarray, factors: list[str]) -> str:
    """What mean-ablating each head alone costs."""
    mean = 100 * costs.mean(-1)
    rows = [[f"L{layer}", *(f"{cost:+.1f}" for cost in -row)] for layer, row in enumerate(mean)]
    order = np.argsort(-mean, axis=None)[:6]
    worst = []
    for index in order:
        layer, head = divmod(int(index), mean.shape[1])
        per_factor = 100 * costs[layer, head]
        most = int(per_factor.argmax())
        worst.append(
            f"- `{head_name(layer, head)}`: {-mean[layer, head]:+.1f} points, "
            f"{-per_factor[most]:+.1f} in {factors[most]}"
        )
    lines = "\n".join(worst)
    return f"""## What ablating each head costs

Change of zero-shot accuracy on `test`, the mean over factors, in points, when one head's
contribution is replaced by its mean:

{table(["layer", *(f"H{head}" for head in range(mean.shape[1]))], rows)}

The heads that matter most:

{lines}
"""


def _group_row(name: str, found: Groups) -> list[str]:
    cells = [f"{found.groups[bird, place]:.3f}" for bird in (0, 1) for place in (0, 1)]
    return [name, *cells, f"{found.mean:.3f}", f"{found.worst:.3f}"]


def birds_section(found: Repair) -> str:
    """The bias and its repair."""
    header = ["", *(f"{bird} bird on {place}" for bird in PLACES for place in PLACES)]
    rows = [_group_row("as trained", found.before), _group_row("heads ablated", found.after)]
    gap = found.before.mean - found.before.worst
    raised = found.after.worst - found.before.worst
    heads = ", ".join(f"`{head_name(layer, head)}`" for layer, head in found.heads)
    return f"""## Birds: a bias to repair

In `birds_train` 98.5 % of water birds are on water and of land birds on land, and the birds are
small. Zero-shot, land bird against water bird, on {PICTURES:,} pictures of the balanced split
`birds_test`:

{table([*header, "mean", "worst"], rows)}

The worst group is {100 * gap:.1f} points below the mean. Mean-ablating {len(found.heads)} heads,
those whose contribution the place explains best (their number chosen on `birds_select`), raises it
by {100 * raised:.1f} points; as many heads drawn at random give a worst group of
{np.mean(found.random_worst):.3f} in the mean ({min(found.random_worst):.3f} to
{max(found.random_worst):.3f}, {len(found.random_worst)} draws). The heads: {heads}.
"""


INTRODUCTION = """# Model card: small_clip

Written by `python -m demo.card` (`make demo-card`); do not edit by hand.

An open_clip model (ViT, 64 × 64 pixels, patch 8, width 192, 6 layers of 6 heads 32 wide; text width
128, 3 layers; joint width 128) trained on drawn pictures whose factors are known, so that what its
heads do can be checked against the truth.

```python
import open_clip

open_clip.add_model_config("demo/small_clip.json")
model, _, transform = open_clip.create_model_and_transforms(
    "small_clip", pretrained="demo/small_clip.safetensors"
)
tokenizer = open_clip.get_tokenizer("small_clip")
```
"""

LIMITS = """## Limits

- Not for photographs, nor for anything else that `demo/world/` does not draw: it has seen no other
  picture.
- Weaker at kinds in colours that it never saw them in (`test_heldout`).
- Not for words outside the captions' few hundred: all other tokens share one embedding.
- Not for position ("left of", "above"), which no caption mentions, and not for two kinds of object
  in one picture, which never occur.
- The head roles here are cleaner than in large models: the training favours heads over MLPs, and
  the factors are independent.
"""


def data_section() -> str:
    """The pictures and their factors."""
    rows = [[name, ", ".join(values)] for name, values in world.FACTORS.items()]
    return f"""## Data

Scenes drawn by `demo/world/` (no third-party pictures): one to four objects of one kind on a
background, with independent factors; {len(world.HELD_OUT)} combinations of kind and colour occur in
`test_heldout` only. Captions mention random subsets of the factors. `bird` is named in the birds
splits only.

{table(["factor", "values"], rows)}
"""


def write_card(config: Path, weights: Path, out: Path, pictures: int = PICTURES) -> None:
    """Measure the checkpoint on freshly drawn pictures and write the card."""
    with safe_open(str(weights), "np") as file:
        training = json.loads(file.metadata()["training"])
    model = load_model(str(config), str(weights))
    classifiers: Classifiers = {
        factor: classifier(factor, model.encode_text) for factor in world.FACTORS
    }
    names = [name for name in world.FACTORS if name != "bird"]
    plain = {name: classifiers[name] for name in names}

    side = model.record.preprocessing.image_size[0]

    def measured(split: str) -> Measured:
        drawn = world.batch(split, 0, pictures, side=side)
        return encode(model, drawn.images), drawn.factors

    encoded, codes = measured("test")
    factors = {name: codes[name] for name in names}
    held_encoded, held_codes = measured("test_heldout")
    sections = [
        INTRODUCTION,
        data_section(),
        training_section(training),
        accuracy_section(
            score(encoded.embedding, factors, plain),
            score(held_encoded.embedding, held_codes, plain),
            score(without_mlps(encoded), factors, plain),
        ),
        shares_section(encoded),
        heads_section(head_factors(encoded, factors, shuffles=SHUFFLES, seed=0)),
        costs_section(head_costs(encoded, factors, plain), names),
        birds_section(
            repair(measured("birds_select"), measured("birds_test"), classifiers["bird"])
        ),
        LIMITS,
    ]
    out.write_text("\n".join(sections))


def main(
    config: Annotated[Path, typer.Option(help="open_clip model config")] = CONFIG,
    weights: Annotated[Path, typer.Option(help="checkpoint")] = WEIGHTS,
    out: Annotated[Path, typer.Option(help="Markdown file to write")] = CARD,
) -> None:
    """Measure the small CLIP and write its model card."""
    write_card(config, weights, out)


if __name__ == "__main__":
    typer.run(main)
