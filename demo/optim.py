"""Muon for the hidden matrices, AdamW for the rest, one schedule for both."""

import math

import torch
from jaxtyping import Float
from open_clip.model import CLIP
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device has arithmetic for bfloat16: a CPU without AVX-512 makes do with loops."""
    return device.type != "cpu" or torch.backends.cpu.get_cpu_capability() not in ("AVX2", "NO AVX")


class Muon32(Muon):
    """Torch's Muon for a CPU without arithmetic for bfloat16: it orthogonalises in float32.

    Its steps are those of "match_rms_adamw" with Nesterov's momentum; its state is torch's.
    """

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Take one step."""
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                held = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p.grad))
                held.lerp_(p.grad, 1 - momentum)
                update = p.grad.lerp(held, momentum)
                p.mul_(1 - lr * group["weight_decay"])
                straight = orthogonalised(update, group["ns_coefficients"], group["ns_steps"])
                p.add_(straight, alpha=-lr * 0.2 * math.sqrt(max(p.shape)))


def orthogonalised(
    matrix: Float[Tensor, "row column"], coefficients: tuple[float, float, float], steps: int
) -> Float[Tensor, "row column"]:
    """Return a matrix of the same singular vectors and singular values near 1.

    By Newton and Schulz's iteration with Jordan's quintic, https://kellerjordan.github.io/posts/muon
    """
    a, b, c = coefficients
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if matrix.shape[0] > matrix.shape[1] else x


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
    muon = Muon if multiplies_bfloat16(others[0].device) else Muon32
    return (
        muon(matrices, lr=0.0, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
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
