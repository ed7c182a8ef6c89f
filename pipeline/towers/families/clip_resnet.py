"""OpenAI's ResNets: the convolutions have no heads; their attention pool has, one layer of them."""

from typing import Any

import torch
from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet
from torch import Tensor

from pipeline.towers.block import QKV, linear_in_wider, split_heads
from pipeline.towers.readout import AttentionPool, Readout
from pipeline.towers.tower import Refused, Tower


class ClipResNet:
    """The family of `open_clip.modified_resnet.ModifiedResNet`."""

    name = "CLIP ResNet"

    def claims(self, visual: Any) -> bool:
        """Whether this is exactly that class."""
        return type(visual) is ModifiedResNet

    def tower(self, visual: Any) -> Tower:
        """Say where things are."""
        pool = visual.attnpool
        if type(pool) is not AttentionPool2d:
            raise Refused(f"it pools by {type(pool).__name__}, expected AttentionPool2d")
        width = pool.v_proj.in_features

        def embed(pixels: Tensor) -> Tensor:
            x = visual.stem(pixels)
            for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
                x = layer(x)
            x = x.flatten(2).mT
            x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1)
            return x + pool.positional_embedding.to(x.dtype)

        def project(y: Tensor) -> QKV:
            q, k, v = (
                split_heads(linear_in_wider(x, module.weight, module.bias), pool.num_heads)
                for x, module in ((y[:, :1], pool.q_proj), (y, pool.k_proj), (y, pool.v_proj))
            )
            return q, k, v

        value = (pool.v_proj.weight, pool.v_proj.bias)
        attention = AttentionPool(
            pool.num_heads, width // pool.num_heads, project, value, pool.c_proj
        )
        side = round((len(pool.positional_embedding) - 1) ** 0.5)
        return Tower(
            family=self.name,
            visual=visual,
            embed=embed,
            blocks=(),
            readout=Readout("attn2d", slice(0, None), pool=attention),
            prefix=1,
            grid=(side, side),
            d_model=width,
            d_joint=pool.c_proj.out_features,
        )


FAMILY = ClipResNet()
