"""Where heads look: the share of a class token's spatial attention that falls on marked tokens.

Heads that look at written text are found by it (Dyslexify, arXiv 2508.20570, section 3):

    share_h(I) = Σ_i α_0i m_i / Σ_i α_0i        over the picture's own tokens i

with m_i the share of token i's patch that is marked. A head that looks everywhere alike has the
share of the picture that is marked.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.towers.tower import Tower
from schemas.errors import UnsupportedModel


@torch.inference_mode()
def attention_shares(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    marked: Float[Tensor, "image grid_h grid_w"],
) -> Float[Tensor, "image layer n_heads"]:
    """Return each head's share of attention on marked tokens.

    Raises:
        UnsupportedModel: no class token is read.
    """
    if not tower.readout.single:
        raise UnsupportedModel(
            f"{tower.family} reads no class token (read-out {tower.readout.kind!r}), so there "
            "is no attention of it; give another --search"
        )
    mask = marked.flatten(1)[:, None]
    x, found = tower.start(pixels), []
    for block in tower.blocks:
        q, k, _ = block.qkv(x, 1)
        alpha = block.alpha(q, k)[:, :, 0, tower.prefix :].float()
        found.append((alpha * mask).sum(dim=-1) / alpha.sum(dim=-1))
        x = block.after(x)
    return torch.stack(found, dim=1)
