"""Half precision: half-precision products on a float32 residual stream and LayerNorms (DESIGN §2).

open_clip casts its own towers' matrices and leaves their LayerNorms; of timm's it casts all.
"""

from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.towers.norms import is_layer_norm

# The pooler's query, scales of heads, LayerScale.
_BETWEEN = ("query", "head_scale", "gamma")


def hold_products(visual: Any, dtype: torch.dtype) -> None:
    """Have a timm tower in half precision compute its norms in float32 and its products in half.

    Its modules take either: what comes in is cast, and a norm gives back what it was given. Of
    open_clip's own, what it leaves in float32 between matrices in half is cast: it fails otherwise.
    """
    if dtype not in (torch.float16, torch.bfloat16):
        return
    if type(visual) is VisionTransformer:
        for name, parameter in visual.named_parameters():
            if name.rsplit(".", 1)[-1] in _BETWEEN:
                parameter.data = parameter.data.to(dtype)
    if type(visual) is not TimmModel:
        return
    module: Any
    for module in visual.modules():
        if is_layer_norm(module):
            module.float()
            module.forward = partial(_norm, module)
        elif isinstance(module, (nn.Linear, nn.Conv2d)):
            module.forward = partial(  # type: ignore[method-assign]
                _product, module, type(module).forward
            )
    for name, parameter in visual.named_parameters():
        if name.rsplit(".", 1)[-1] in ("gamma", "gamma_1", "gamma_2"):
            parameter.data = parameter.data.float()


def _norm(module: Any, x: Float[Tensor, "*axes d"]) -> Float[Tensor, "*axes d"]:
    found = F.layer_norm(x.float(), module.normalized_shape, module.weight, module.bias, module.eps)
    return found.to(x.dtype)


def _product(module: Any, forward: Any, x: Tensor) -> Tensor:
    return forward(module, x.to(module.weight.dtype))
