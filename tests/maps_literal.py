"""Literal pieces that the tests of maps share: tokens and blocks computed by hand, in loops."""

from dataclasses import dataclass

import torch
from open_clip.model import CLIP
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer


@dataclass(frozen=True)
class Layer:
    """What one block computed for all tokens, with every head apart."""

    x: torch.Tensor  # before the block
    y: torch.Tensor  # ln_1(x)
    q: torch.Tensor  # image, head, token, d
    k: torch.Tensor
    v: torch.Tensor
    a: torch.Tensor  # image, head, query, key
    o: torch.Tensor  # image, head, token, d
    after: torch.Tensor


def gain(scale: torch.nn.Module) -> torch.Tensor | float:
    return getattr(scale, "gamma", 1.0)


def run_block(block: ResidualAttentionBlock, x: torch.Tensor) -> Layer:
    attn = block.attn
    width, n_heads = attn.embed_dim, attn.num_heads
    d = width // n_heads
    y = block.ln_1(x)
    qkv = y @ attn.in_proj_weight.T + attn.in_proj_bias
    parts = []
    for part in range(3):
        start = part * width
        parts.append(
            torch.stack(
                [qkv[..., start + h * d : start + (h + 1) * d] for h in range(n_heads)], dim=1
            )
        )
    q, k, v = parts
    a = (torch.einsum("bhqd,bhkd->bhqk", q, k) / d**0.5).softmax(-1)
    o = torch.einsum("bhqk,bhkd->bhqd", a, v)
    out = attend_out(block, o)
    middle = x + out
    after = middle + block.mlp(block.ln_2(middle)) * gain(block.ls_2)
    return Layer(x, y, q, k, v, a, o, after)


def attend_out(block: ResidualAttentionBlock, o: torch.Tensor) -> torch.Tensor:
    """Heads' outputs to the residual stream, a head at a time."""
    d = o.shape[-1]
    total = 0
    for h in range(o.shape[1]):
        total = total + o[:, h] @ block.attn.out_proj.weight[:, h * d : (h + 1) * d].T
    return (total + block.attn.out_proj.bias) * gain(block.ls_1)


def layers_of(visual: VisionTransformer, images: torch.Tensor) -> list[Layer]:
    x, found = visual._embeds(images), []
    for block in visual.transformer.resblocks:
        found.append(run_block(block, x))
        x = found[-1].after
    return found


def joint(visual: VisionTransformer, x: torch.Tensor) -> torch.Tensor:
    out = visual.ln_post(x) @ visual.proj
    return out / out.norm(dim=-1, keepdim=True)


def embedding(clip: CLIP, images: torch.Tensor) -> torch.Tensor:
    return clip.encode_image(images, normalize=True)


def random_texts(d_joint: int, *shape: int, seed: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, d_joint, generator=generator, dtype=torch.float64)
    return x / x.norm(dim=-1, keepdim=True)
