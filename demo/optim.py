"""Muon for the hidden matrices, AdamW for the rest, one schedule for both."""

import math

import torch
from open_clip.model import CLIP
from torch import nn
from torch.optim import AdamW, Muon, Optimizer


def optimizers(model: CLIP, *, weight_decay: float) -> tuple[Optimizer, Optimizer]:
    """Muon over the weight matrices of the two towers' blocks, AdamW over all other parameters.

    Muon's steps are scaled to the size that AdamW's have, so the two learning rates are alike.
    Embeddings, biases, gains, projections and the logit scale see no weight decay.
    """
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        hidden = "resblocks" in name and parameter.ndim == 2
        (matrices if hidden else others).append(parameter)
    return (
        Muon(matrices, lr=0.0, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
        AdamW(others, lr=0.0, weight_decay=0.0, betas=(0.9, 0.98)),
    )


def schedule(step: int, *, steps: int, warmup: int) -> float:
    """The share of the peak rates at `step`: linear up over `warmup` steps, half a cosine down."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * done))


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


@torch.no_grad()
def clamp_logit_scale(model: CLIP, highest: float = 100.0) -> None:
    """Keep the logit scale at or below `highest`, as CLIP does."""
    model.logit_scale.clamp_(max=math.log(highest))
