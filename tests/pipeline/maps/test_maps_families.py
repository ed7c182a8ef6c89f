"""Every method × every family of towers: equal to its literal form, or refused by name.

A method that is added without a literal form in `literal_methods`, or that holds for a family on
which it computes something else, fails here; the table in docs/method.md is made of the same
declarations.
"""

from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.maps.method import KINDS, Traits, traits_of
from pipeline.maps.methods.eclip import Projections
from pipeline.maps.registry import DECLARED
from pipeline.towers.registry import tower_of
from schemas.errors import UnsupportedModel
from tests.literal_tower import LiteralTower, frozen
from tests.maps_literal import random_texts
from tests.pipeline.maps.literal_methods import LITERALS, projections
from tests.timm_towers import FAMILIES as OTHERS
from tests.timm_towers import pictures, small_visual
from tests.towers import pixels, small_clip

CUSTOM = {"scale_heads": True, "scale_attn_inner": True, "scale_attn": True, "qk_norm": True}
COCA = {"attentional_pool": True, "attn_pooler_heads": 4, "attn_pooler_queries": 3}
OWN: dict[str, dict[str, Any]] = {
    "own ViT": {"ls_init_value": 0.3},
    "own ViT, oblong": {"image_size": (8, 16), "no_ln_pre": True},
    "own ViT, custom block": {"block_type": "custom", "qk_norm": True},
    "own ViT, all of the custom block": CUSTOM,
    "own ViT, average before the norm (CLIPA)": {"pool_type": "avg", "final_ln_after_pool": True},
    "own ViT, average after the norm": {"pool_type": "avg"},
    "own ViT, all of the custom block, average": {**CUSTOM, "pool_type": "avg"},
    "CoCa": COCA,
}
FAMILIES = (*OWN, *OTHERS)
TEXTS, LABELS = random_texts(20, 2), random_texts(20, 4, seed=8)


@cache
def made(family: str) -> tuple[Any, Tensor]:
    """Return a small image encoder in float64, and two pictures."""
    if family in OWN:
        options = {"layers": 2, **OWN[family]}
        clip = small_clip(**options)
        with torch.no_grad():
            for name, parameter in clip.visual.named_parameters():
                if "head_scale" in name:
                    parameter.add_(torch.rand_like(parameter))
        return clip.visual, pixels(clip, 2)
    visual = small_visual(family)
    return visual, pictures(visual, 2)


@cache
def walked(family: str) -> LiteralTower:
    return LiteralTower(*made(family))


@pytest.mark.parametrize("name", DECLARED)
def test_a_method_is_its_literal_form_or_refuses_a_tower_by_name(name: str) -> None:
    method = DECLARED[name]
    given = {"checkpoint": Projections(*projections())} if name == "eclip" else {}
    for family in FAMILIES:
        visual, images = made(family)
        tower = tower_of(visual)
        run = partial(method.run, visual, images, TEXTS, LABELS, **given)
        if not method.towers.holds(traits_of(tower)):
            with pytest.raises(UnsupportedModel) as refused:
                run()
            assert str(refused.value).startswith(method.title), family
            assert f"({tower.family})" in str(refused.value), family
            continue
        found, walk = run(), walked(family)
        torch.testing.assert_close(found.embedding, walk.embedding, rtol=0, atol=1e-10)
        literal = LITERALS[name] if tower.readout.pool is None else POOLED[name]
        for b in range(2):
            for t, text in enumerate(TEXTS):
                expected = literal(walk, b, text, LABELS)
                off = float((found.values[b, t].flatten() - expected).abs().max())
                assert off <= 1e-8 * float(expected.abs().max()), f"{name} on {family}"


def test_every_kind_of_tower_in_the_documentation_is_tried() -> None:
    tried = {traits_of(tower_of(made(family)[0])) for family in FAMILIES}
    told = {kind.traits for kind in KINDS.values()}

    def marks(traits: set[Traits]) -> set[tuple[bool, ...]]:
        return {tuple(m.towers.holds(t) for m in DECLARED.values()) for t in traits}

    assert marks(told) == marks(tried)


@dataclass(frozen=True)
class Pool:
    """What a pool was given, and its weights.

    Attributes:
        tokens: how many it reads, of which the last `image` are the picture's.
        q: of its one query, all heads side by side; k and v of the tokens.
        out: W_O of each head.
        norm: behind it, and `total` what that is given.
        project: what follows.
    """

    tokens: int
    image: int
    q: Tensor
    k: Tensor
    v: Tensor
    out: list[Tensor]
    norm: nn.Module
    total: Tensor | None
    project: list[Tensor]


def pool_of(walk: LiteralTower) -> Pool:
    """Return the pool of a CLIP ResNet, of CoCa or of timm's, as it was run."""
    visual, seen = walk.visual, {}
    hooks = [
        module.register_forward_pre_hook(lambda m, args: seen.update({m: args[0]}))
        for module in visual.modules()
    ]
    visual(walk.images)
    for hook in hooks:
        hook.remove()
    norm, total, project = nn.Identity(), None, []
    if hasattr(visual, "attnpool"):
        pool = visual.attnpool
        x = seen[pool].flatten(2).mT
        y = torch.cat([x.mean(1, keepdim=True), x], dim=1) + pool.positional_embedding
        q, k, v = pool.q_proj(y[:, 0]), pool.k_proj(y), pool.v_proj(y)
        weight, heads, image = pool.c_proj.weight, pool.num_heads, y.shape[1] - 1
    elif walk.own:
        pool, attn = visual.attn_pool, visual.attn_pool.attn
        y = pool.ln_k(seen[pool])
        b_q, b_k, b_v = attn.in_proj_bias.split(attn.embed_dim)
        q = (pool.ln_q(pool.query[0]) @ attn.q_proj_weight.T + b_q).expand(len(y), -1)
        k, v = y @ attn.k_proj_weight.T + b_k, y @ attn.v_proj_weight.T + b_v
        weight, heads, image = attn.out_proj.weight, attn.num_heads, y.shape[1] - 1
        norm, total, project = visual.ln_post, seen[visual.ln_post][:, 0], [visual.proj]
    else:
        pool, y = visual.trunk.attn_pool, seen[visual.trunk.attn_pool]
        k, v = pool.kv(y).chunk(2, dim=-1)
        q = pool.q(pool.latent[0, 0]).expand(len(y), -1)
        weight, heads, image = pool.proj.weight, pool.num_heads, walk.grid[0] * walk.grid[1]
        norm, total = visual.trunk.fc_norm, seen.get(visual.trunk.fc_norm)
        linear = [m for m in (visual.trunk.head, *visual.head) if isinstance(m, nn.Linear)]
        project = [module.weight.T for module in linear]
    out = [part.T for part in weight.chunk(heads, dim=1)]
    return Pool(y.shape[1], image, q, k, v, out, norm, total, project)


def pooled_contribution(walk: LiteralTower, b: int, text: Tensor, labels: Tensor) -> Tensor:
    """Return Σ_p ⟨c_{p,i}, t − mean⟩, what the pool's heads write of each image token i."""
    pool, asked = pool_of(walk), text - labels.mean(0)
    row, width = torch.zeros(pool.tokens, dtype=torch.float64), pool.out[0].shape[0]
    for p, out in enumerate(pool.out):
        at = slice(p * width, (p + 1) * width)
        alpha = (pool.k[b, :, at] @ pool.q[b, at] / width**0.5).softmax(-1)
        for i in range(pool.tokens):
            c = alpha[i] * pool.v[b, i, at] @ out
            c = c if pool.total is None else frozen(pool.norm, c, pool.total[b])
            for weight in pool.project:
                c = c @ weight
            row[i] += c @ asked / walk.norm[b]
    return row[-pool.image :]


POOLED = {"contribution": pooled_contribution}
