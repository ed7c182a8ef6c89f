"""An image encoder of any family computed by hand, from its modules' weights: for tests of maps.

Nothing here knows `pipeline.towers`. Blocks are open_clip's own or timm's; heads are apart, and a
part of what they put out can be followed to the embedding with attention and scales as they are.
"""

from dataclasses import dataclass
from typing import Any

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from tests.maps_literal import Layer

POST = ("ResPostBlock", "EvaBlockPostNorm", "ResPostRelPosBlock")


@dataclass(frozen=True)
class Parts:
    """A block's modules by what they are, whatever they are called."""

    attn: Any
    first: nn.Module
    second: nn.Module
    post: bool
    inner: nn.Module
    outer: nn.Module
    proj: nn.Linear
    gains: tuple[Any, Any]
    mlp: nn.Module


def parts_of(block: Any) -> Parts:
    """Name the modules of one of open_clip's blocks, or of timm's."""
    none = nn.Identity()
    if hasattr(block, "ln_1"):
        gains = tuple(getattr(scale, "gamma", 1.0) for scale in (block.ls_1, block.ls_2))
        inner = getattr(block.attn, "ln_inner", none)
        outer = getattr(block, "ln_attn", none)
        proj, mlp = block.attn.out_proj, block.mlp
        return Parts(block.attn, block.ln_1, block.ln_2, False, inner, outer, proj, gains, mlp)
    post = type(block).__name__ in POST
    found = []
    for number in (1, 2):
        gain = getattr(block, f"gamma_{number}", None)
        gain = getattr(getattr(block, f"ls{number}", None), "gamma", gain)
        found.append(1.0 if gain is None or post else gain)
    first, outer = (none, block.norm1) if post else (block.norm1, none)
    inner = getattr(block.attn, "norm", none)
    return Parts(
        block.attn,
        first,
        block.norm2,
        post,
        inner,
        outer,
        block.attn.proj,
        (found[0], found[1]),
        block.mlp,
    )


def frozen(norm: nn.Module, part: Tensor, whole: Tensor) -> Tensor:
    """Return a part through a LayerNorm whose scale is that of the whole; or as it is."""
    if not isinstance(norm, nn.LayerNorm):
        return part
    sigma = (whole.var(dim=-1, correction=0, keepdim=True) + norm.eps).sqrt()
    part = (part - part.mean(dim=-1, keepdim=True)) / sigma
    return part if norm.weight is None else part * norm.weight


class LiteralTower:
    """One forward pass of some pictures, and what follows when something in it is another."""

    def __init__(self, visual: Any, images: Tensor) -> None:
        self.visual, self.own = visual, isinstance(visual, VisionTransformer)
        self.images = images
        self.trunk = visual if self.own else getattr(visual, "trunk", None)
        out = visual(images)
        self.raw = out[0] if isinstance(out, tuple) else out
        self.norm = self.raw.norm(dim=-1)
        self.embedding = F.normalize(self.raw, dim=-1)
        self.layers: list[Layer] = []
        self.gates: list[Any] = []
        if self.trunk is None:
            return
        self.blocks = list(visual.transformer.resblocks if self.own else self.trunk.blocks)
        self.prefix = 1 if self.own else self.trunk.num_prefix_tokens
        patch = visual.patch_size if self.own else self.trunk.patch_embed.patch_size
        self.grid = (images.shape[2] // patch[0], images.shape[3] // patch[1])
        self.ropes: list[Any] = []
        x = visual._embeds(images) if self.own else self._first(images)
        for index in range(len(self.blocks)):
            layer = self.run(index, x)
            self.layers.append(layer)
            x = layer.after
        self.z = x

    def _first(self, images: Tensor) -> Tensor:
        """Return what the first of timm's blocks is given; keep the rotations of each."""
        given: list[Tensor] = []

        def seen(module: nn.Module, args: tuple[Any, ...], more: dict[str, Any]) -> None:
            given.append(args[0])
            self.ropes.append(more.get("rope"))

        hooks = [b.register_forward_pre_hook(seen, with_kwargs=True) for b in self.blocks]
        self.visual(images)
        for hook in hooks:
            hook.remove()
        return given[0]

    def run(self, index: int, x: Tensor) -> Layer:
        """Run a block with every head apart."""
        block = parts_of(self.blocks[index])
        y = block.first(x)
        q, k, v = self.qkv(index, y)
        scores = torch.einsum("bhqd,bhkd->bhqk", q, k) / q.shape[-1] ** 0.5
        a = (scores + self.bias(index)).softmax(-1)
        gate = getattr(block.attn, "gate", None)
        gate = 1.0 if gate is None else heads_apart(gate(y).sigmoid(), q.shape[1])
        if len(self.gates) == index:
            self.gates.append(gate)
        o = torch.einsum("bhqk,bhkd->bhqd", a, v) * gate
        return Layer(x, y, q, k, v, a, o, self.after(index, x, o))

    def qkv(self, index: int, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values of normalised tokens, [image, head, token, d]."""
        attn = parts_of(self.blocks[index]).attn
        heads = attn.num_heads
        if self.own:
            found = (y @ attn.in_proj_weight.T + attn.in_proj_bias).chunk(3, dim=-1)
            norms = [getattr(attn, name, nn.Identity()) for name in ("ln_q", "ln_k")]
        elif getattr(attn, "qkv", None) is not None:
            bias = attn.qkv.bias
            if getattr(attn, "q_bias", None) is not None:
                bias = torch.cat([attn.q_bias, attn.k_bias, attn.v_bias])
            found = (y @ attn.qkv.weight.T + (0 if bias is None else bias)).chunk(3, dim=-1)
            norms = [attn.q_norm, attn.k_norm]
        else:
            found = tuple(m(y) for m in (attn.q_proj, attn.k_proj, attn.v_proj))
            norms = [attn.q_norm, attn.k_norm]
        q, k, v = (heads_apart(part, heads) for part in found)
        return self.turned(index, norms[0](q)), self.turned(index, norms[1](k)), v

    def turned(self, index: int, x: Tensor) -> Tensor:
        """Turn pairs of channels by the angles of each image token's place, if there are any."""
        if not self.ropes or self.ropes[index] is None:
            return x
        sin, cos = self.ropes[index].chunk(2, dim=-1)
        image, d = x[:, :, self.prefix :], x.shape[-1]
        first, second = slice(0, None, 2), slice(1, None, 2)
        if getattr(self.blocks[index].attn, "rotate_half", False):
            first, second = slice(0, d // 2), slice(d // 2, None)
        a, b, turned = image[..., first], image[..., second], torch.empty_like(image)
        turned[..., first] = a * cos[..., first] - b * sin[..., first]
        turned[..., second] = b * cos[..., second] + a * sin[..., second]
        return torch.cat([x[:, :, : self.prefix], turned], dim=2)

    def bias(self, index: int) -> Any:
        """Return what relative positions add to the scores."""
        shared = getattr(self.trunk, "shared_rel_pos", None)
        position = getattr(parts_of(self.blocks[index]).attn, "rel_pos", None) or shared
        return 0.0 if position is None else position.get_bias()

    def merged(self, index: int, o: Tensor) -> Tensor:
        """Return heads' outputs side by side, scaled."""
        scale = getattr(parts_of(self.blocks[index]).attn, "head_scale", None)
        o = o if scale is None else o * scale
        return torch.cat([o[:, h] for h in range(o.shape[1])], dim=-1)

    def out(self, index: int, o: Tensor) -> Tensor:
        """Return what a block's attention adds, given its heads' outputs."""
        block = parts_of(self.blocks[index])
        through = block.inner(self.merged(index, o)) @ block.proj.weight.T + block.proj.bias
        return block.outer(through) * block.gains[0]

    def after(self, index: int, x: Tensor, o: Tensor) -> Tensor:
        """Return the residual stream after a block whose heads put out o."""
        block = parts_of(self.blocks[index])
        x = x + self.out(index, o)
        added = block.second(block.mlp(x)) if block.post else block.mlp(block.second(x))
        return x + added * block.gains[1]

    def resume(self, index: int, o: Tensor) -> Tensor:
        """Return the last residual stream, with heads' outputs of one layer replaced."""
        x = self.after(index, self.layers[index].x, o)
        for later in range(index + 1, len(self.blocks)):
            x = self.run(later, x).after
        return x

    def joint(self, x: Tensor) -> Tensor:
        """Return states as if each were all that is read: norm and projection; unit norm."""
        if self.own:
            return F.normalize(self.visual.ln_post(x) @ self.visual.proj, dim=-1)
        for module in (self.trunk.norm, self.trunk.fc_norm, self.trunk.head, *self.visual.head):
            x = module(x)
        return F.normalize(x, dim=-1)

    def written(self, index: int, head: int, part: Tensor) -> Tensor:
        """Return what a part of one head's output adds, the LayerNorms' scales as they are."""
        block, o = parts_of(self.blocks[index]), self.layers[index].o
        only = torch.zeros_like(o)
        only[:, head] = part
        whole, one = self.merged(index, o), self.merged(index, only)
        through = block.inner(whole) @ block.proj.weight.T + block.proj.bias
        one = frozen(block.outer, frozen(block.inner, one, whole) @ block.proj.weight.T, through)
        return one * block.gains[0]

    def read(self, part: Tensor) -> Tensor:
        """Return what a part of the residual stream adds to the unit-norm embedding.

        Where the class token is read, or the mean of the image tokens.
        """
        if self.own:
            tok = self.visual.pool_type == "tok"
            pre, post = nn.Identity(), self.visual.ln_post
            if not tok and not self.visual.final_ln_after_pool:
                pre, post = post, pre
            first, weights = self.prefix, [self.visual.proj]
        else:
            tok = self.trunk.global_pool == "token"
            pre, post = self.trunk.norm, self.trunk.fc_norm
            every = getattr(self.trunk, "pool_include_prefix", False)
            first = 0 if every else self.prefix
            linear = [m for m in (self.trunk.head, *self.visual.head) if isinstance(m, nn.Linear)]
            weights = [module.weight.T for module in linear]
        tokens = slice(0, 1) if tok else slice(first, None)
        normed = pre(self.z[:, tokens])
        t = frozen(pre, part[:, tokens], self.z[:, tokens]).mean(dim=1)
        t = frozen(post, t, normed.mean(dim=1))
        for weight in weights:
            t = t @ weight
        return t / self.norm[:, None]


def heads_apart(x: Tensor, heads: int) -> Tensor:
    """Return [image, head, token, d]."""
    return torch.stack(x.chunk(heads, dim=-1), dim=1)
