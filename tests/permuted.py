"""A tower whose heads are another's in another order: the same function, other heads by name."""

import numpy as np
import torch


def permuted_heads(
    state: dict[str, torch.Tensor], n_heads: int, seed: int
) -> tuple[dict[str, torch.Tensor], list[list[int]]]:
    """Return the weights with the heads of each block of the image encoder shuffled.

    Also, by layer, which old head each new head is.
    """
    rng, orders = np.random.default_rng(seed), []
    found = dict(state)
    layer = 0
    while (name := f"visual.transformer.resblocks.{layer}.attn") + ".in_proj_weight" in state:
        order = rng.permutation(n_heads)
        width = state[f"{name}.out_proj.weight"].shape[1]
        rows = np.arange(width).reshape(n_heads, -1)[order].reshape(-1)
        three = np.concatenate([rows + k * width for k in range(3)])
        for part in ("in_proj_weight", "in_proj_bias"):
            found[f"{name}.{part}"] = state[f"{name}.{part}"][three].clone()
        found[f"{name}.out_proj.weight"] = state[f"{name}.out_proj.weight"][:, rows].clone()
        orders.append(order.tolist())
        layer += 1
    return found, orders
