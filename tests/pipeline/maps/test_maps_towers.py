"""Contribution maps on open_clip's own blocks and read-outs sum to what the heads add."""

import pytest
import torch
from open_clip.model import CLIP

from pipeline.maps.method import traits_of
from pipeline.maps.methods.contribution import contribution, head_contributions
from pipeline.maps.registry import METHODS
from pipeline.towers.registry import tower_of
from schemas.errors import UnsupportedModel
from tests.maps_literal import random_texts
from tests.towers import TEXT, VISION, pixels, small_clip

INNER = {"block_type": "custom", "scale_heads": True, "scale_attn_inner": True, "scale_attn": True}
TRUNKS = {
    "plain": {},
    "average, LayerNorm after": {"pool_type": "avg", "final_ln_after_pool": True},
    "average, LayerNorm before": {"pool_type": "avg"},
    "inner LayerNorms": INNER,
    "inner LayerNorms, average": {**INNER, "pool_type": "avg"},
    "qk-norm": {"block_type": "custom", "qk_norm": True},
}


def clip_of(options: dict[str, object]) -> CLIP:
    """Return a CLIP with all of its parameters random, whatever its blocks and pool."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        clip = CLIP(20, {**VISION, **options}, TEXT).double().eval()
        with torch.no_grad():
            for parameter in clip.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return clip.requires_grad_(False)


def literal_total(clip: CLIP, images: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """Return what all heads add to ⟨embedding, text⟩ from image tokens, by nudging what they read.

    With attention and scales as they are the embedding before its norm is linear in every o: the
    part of image token j is the derivative along α_ij v_j, which autograd gives with all scales
    (LayerNorm's σ) detached.
    """
    tower = tower_of(clip.visual)
    x, total = tower.embed(images), 0.0
    tokens = []
    for block in tower.blocks:
        y = block.norm(x)
        q, k, v = block.project(y, None)
        o = block.gated(block.alpha(q, k) @ v, y)
        from_image = block.gated(block.alpha(q, k)[..., 1:] @ v[:, :, 1:], y)
        written = block.write(o)
        scale = 1.0 if written.heads is None else written.heads[:, None, :, None]
        channels = (from_image * scale).to(torch.float64)
        tokens.append(torch.einsum("bhqd,hdm->bqm", channels, block.transform()))
        x = x + written.update
        x = x + block.mlp(x)
    readout, whole = tower.readout, sum(tokens)
    norm = readout.post or readout.pre
    if readout.early:
        read = whole[:, readout.tokens].mean(1)
        sigma = (x[:, readout.tokens].mean(1).var(-1, correction=0) + norm.eps).sqrt()
        total = read @ readout.map(tower.d_model) / sigma[:, None]
    else:
        sigma = (x[:, readout.tokens].var(-1, correction=0) + norm.eps).sqrt()
        read = (whole[:, readout.tokens] / sigma[..., None]).mean(1)
        total = read @ readout.map(tower.d_model)
    return (total @ text) / readout.embed(x).norm(dim=-1)


@pytest.mark.parametrize("options", TRUNKS.values(), ids=TRUNKS.keys())
def test_a_map_sums_to_what_the_heads_add_from_image_tokens(options: dict[str, object]) -> None:
    clip = clip_of(options)
    images, texts, labels = pixels(clip, 2), random_texts(20, 2), random_texts(20, 4, seed=8)
    found = contribution.run(clip.visual, images, texts, labels)
    own = clip.encode_image(images, normalize=True)
    torch.testing.assert_close(found.embedding, own, rtol=0, atol=1e-10)
    for t in range(2):
        expected = literal_total(clip, images, texts[t] - labels.mean(0))
        torch.testing.assert_close(found.values[:, t].sum((1, 2)), expected, rtol=1e-9, atol=1e-11)
    heads = [(layer, head) for layer in range(3) for head in range(3)]
    each = head_contributions(clip.visual, images, texts, labels, heads)
    torch.testing.assert_close(each.sum(0), found.values, rtol=1e-9, atol=1e-12)


def test_custom_blocks_without_their_options_give_the_maps_of_plain_ones() -> None:
    plain, custom = small_clip(), small_clip(block_type="custom")
    wanted = plain.state_dict()
    there = custom.state_dict()
    renamed = {k.replace("attn.in_proj", "attn.in_proj"): v for k, v in wanted.items()}
    assert there.keys() == renamed.keys()
    custom.load_state_dict(renamed)
    images, texts, labels = pixels(plain, 1), random_texts(20, 1), random_texts(20, 3, seed=4)
    for name, method in METHODS.items():
        if not method.towers.holds(traits_of(tower_of(custom.visual))):
            with pytest.raises(UnsupportedModel, match=r"open_clip's plain class-token blocks"):
                method.run(custom.visual, images, texts, labels)
            continue
        one = method.run(plain.visual, images, texts, labels).values
        other = method.run(custom.visual, images, texts, labels).values
        scale = float(one.abs().max())
        torch.testing.assert_close(other, one, rtol=1e-8, atol=1e-10 * scale, msg=name)
