"""The searches of `headatlas spurious`: a score for every head, and a set chosen by it."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from jobs import console
from jobs.steps.split_effects import Split
from jobs.steps.whatif import Scene
from pipeline.heads.ablation import (
    Choice,
    CueScores,
    attribute_against_target,
    choose_greedily,
    choose_under_budget,
)
from pipeline.heads.margins import margin_contrast
from schemas.errors import SourceError, UsageError
from schemas.text import how_many

if TYPE_CHECKING:
    from jobs.commands.spurious import SpuriousConfig

# Pictures that go through the model together.
BATCH = 16


@dataclass(frozen=True)
class Searched:
    """What a search has found.

    Attributes:
        scores: of every stored head.
        order: indices of the heads, the highest score first.
        choice: the set, by indices.
    """

    scores: CueScores
    order: Int[np.ndarray, " head"]
    choice: Choice


def search(config: "SpuriousConfig", scene: Scene, split: Split) -> Searched:
    """Score heads on the select pictures and choose a set; see the options of the command.

    Raises:
        UsageError: --text-data is missing, or given to another search.
    """
    by_attention = config.search == "attention-share"
    if by_attention != (config.text_data is not None):
        raise UsageError(
            "--search attention-share needs --text-data, a data set whose masks are where written "
            "text is; other searches take none"
        )
    groups = split.truth * (int(split.attribute.max()) + 1) + split.attribute
    scores = attribute_against_target(split.logits, split.effects, split.attribute, split.truth)
    usual = 0.0
    if config.search == "margin-contrast":
        tops = margin_contrast(split.logits, split.effects, split.truth, groups)
        scores = replace(scores, score=tops.score)
    elif by_attention:
        shares, usual = attention_on_text(config, scene)
        scores = replace(scores, score=shares)
    order = np.argsort(-scores.score, kind="stable")
    choose = choose_under_budget if by_attention else choose_greedily
    choice = choose(
        split.logits,
        split.effects,
        split.truth,
        groups,
        candidates=[i for i in order[: config.candidates].tolist() if scores.score[i] > usual],
        most=config.most,
        tolerance=config.tolerance,
    )
    return Searched(scores, order, choice)


def attention_on_text(
    config: "SpuriousConfig", scene: Scene
) -> tuple[Float[np.ndarray, " head"], float]:
    """Return each stored head's mean share of attention on written text, and text's mean share.

    Pictures without text are passed over.

    Raises:
        UsageError: no picture has text.
        UnsupportedModel: no class token is read.
    """
    import torch
    from torch.nn import functional as F

    from jobs.steps.models import load_recorded
    from pipeline.heads.attention_share import attention_shares
    from pipeline.masks.protocol import mask_for_model
    from pipeline.masks.registry import open_data

    assert config.text_data is not None
    data = open_data(config.text_data.absolute(), None, ("text",), class_masks=False)
    loaded = load_recorded(scene.opened.record)
    grid, seen = loaded.tower.grid, loaded.record.preprocessing
    total: np.ndarray | None = None
    area, count = 0.0, 0
    pixels: list[torch.Tensor] = []
    covers: list[torch.Tensor] = []
    with console.progress("Attention on text", len(data.keys), "pictures") as advance:
        for number in range(len(data.keys)):
            try:
                example = data.read(number)
            except SourceError as error:
                console.note(f"left out: {error}")
            else:
                mask = torch.from_numpy(mask_for_model(example.mask, seen, "aligned") == 1)
                cover = F.adaptive_avg_pool2d(mask.float()[None], grid)[0]
                if cover.any():
                    pixels.append(loaded.transform(example.picture))
                    covers.append(cover)
            if pixels and (len(pixels) == BATCH or number == len(data.keys) - 1):
                batch = torch.stack(pixels).to(loaded.device, loaded.dtype)
                marked = torch.stack(covers).to(loaded.device)
                shares = attention_shares(loaded.tower, batch, marked).double().sum(dim=0)
                added = shares.cpu().numpy()
                total = added if total is None else total + added
                area += float(marked.mean(dim=(1, 2)).sum())
                count += len(pixels)
                pixels, covers = [], []
            advance(number + 1)
    if total is None:
        raise UsageError(
            f"--text-data {config.text_data}: no mask of its "
            f"{how_many(len(data.keys), 'picture')} marks any "
            "text; give pictures with text, their masks 1 where it is"
        )
    return np.array([total[layer, head] for layer, head in scene.heads]) / count, area / count
