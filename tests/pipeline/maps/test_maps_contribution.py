"""Contribution maps against a literal loop over layers, heads, tokens and texts."""

import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.transformer import VisionTransformer

from pipeline.heads.decompose import Decomposer
from pipeline.heads.frames import head_frames
from pipeline.maps.base import first_tokens
from pipeline.maps.methods.contribution import contribution, head_contributions
from pipeline.maps.statistics import head_map_statistics
from pipeline.towers.registry import tower_of
from schemas.errors import UsageError
from tests.maps_literal import embedding, gain, layers_of, random_texts
from tests.towers import SUPPORTED, pixels, small_clip


def literal(
    visual: VisionTransformer, images: torch.Tensor, texts: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Return ⟨c_{i,l,h}, t − mean⟩ as [layer, head, image, text, token], class token included."""
    layers = layers_of(visual, images)
    queries = list(range(1, layers[0].x.shape[1])) if visual.pool_type == "avg" else [0]
    z = sum(layers[-1].after[:, q] for q in queries) / len(queries)
    ln = visual.ln_post
    sigma = (z.var(-1, correction=0) + ln.eps).sqrt()
    gamma = torch.ones_like(z[0]) if ln.weight is None else ln.weight
    norm = (ln(z) @ visual.proj).norm(dim=-1)
    mean = sum(labels) / len(labels)
    found = []
    for block, layer in zip(visual.transformer.resblocks, layers, strict=True):
        d = layer.v.shape[-1]
        for h in range(layer.v.shape[1]):
            columns = block.attn.out_proj.weight[:, h * d : (h + 1) * d]
            tokens = []
            for i in range(layer.x.shape[1]):
                alpha = sum(layer.a[:, h, q, i] for q in queries) / len(queries)
                written = alpha[:, None] * layer.v[:, h, i] @ columns.T * gain(block.ls_1)
                centred = written - written.mean(-1, keepdim=True)
                c = (centred * gamma) @ visual.proj / (sigma * norm)[:, None]
                tokens.append(torch.stack([c @ (t - mean) for t in texts], dim=1))
            found.append(torch.stack(tokens, dim=-1))
    return torch.stack(found).unflatten(0, (len(layers), -1))


@pytest.mark.parametrize("options", SUPPORTED.values(), ids=SUPPORTED.keys())
def test_a_map_is_the_literal_sum_over_layers_and_heads(options: dict[str, object]) -> None:
    clip = small_clip(**options)
    images, texts = pixels(clip), random_texts(20, 4)
    labels = random_texts(20, 7, seed=8)
    expected = literal(clip.visual, images, texts, labels)[..., 1:]
    grid = clip.visual.grid_size
    found = contribution(clip.visual, images, texts, labels)
    torch.testing.assert_close(
        found.values, expected.sum((0, 1)).unflatten(-1, grid), rtol=1e-10, atol=1e-13
    )
    torch.testing.assert_close(found.embedding, embedding(clip, images), rtol=1e-10, atol=1e-13)

    heads = [(2, 1), (0, 2), (2, 0)]
    each = head_contributions(clip.visual, images, texts, labels, heads)
    for (layer, head), one in zip(heads, each, strict=True):
        torch.testing.assert_close(
            one, expected[layer, head].unflatten(-1, grid), rtol=1e-10, atol=1e-13
        )
    chosen = torch.zeros(3, 3, dtype=torch.bool)
    for layer, head in heads:
        chosen[layer, head] = True
    of_chosen = contribution(clip.visual, images, texts, labels, heads=chosen).values
    torch.testing.assert_close(of_chosen, each.sum(0), rtol=1e-10, atol=1e-13)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_all_tokens_of_a_head_sum_to_its_direct_contribution(seed: int) -> None:
    clip = small_clip(seed=seed)
    images, texts = pixels(clip, seed=seed), random_texts(20, 3, seed=seed)
    frames = head_frames(tower_of(clip.visual), (0, 1, 2))
    whole = Decomposer(tower_of(clip.visual), frames)(images)
    c = torch.einsum("blhi,lhji->lhbj", whole.stacked(), torch.from_numpy(frames.q))
    per_token = literal(clip.visual, images, texts, texts)
    torch.testing.assert_close(per_token.sum(-1), c @ (texts - texts.mean(0)).T)


def test_texts_may_differ_from_picture_to_picture() -> None:
    clip = small_clip()
    images, texts = pixels(clip), random_texts(20, 3, 2)
    labels = random_texts(20, 5)
    together = contribution(clip.visual, images, texts, labels).values
    for i in range(3):
        alone = contribution(clip.visual, images[i : i + 1], texts[i], labels).values
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-12, atol=1e-14)


def test_a_text_against_itself_alone_is_refused() -> None:
    clip = small_clip()
    text = random_texts(20, 1)
    with pytest.raises(UsageError, match="zero everywhere"):
        contribution(clip.visual, pixels(clip), text, text)


def test_sets_of_texts_for_another_number_of_pictures_are_refused() -> None:
    clip = small_clip()
    with pytest.raises(UsageError, match=r"expected \[text, d_joint\] or \[3, text, d_joint\]"):
        contribution(clip.visual, pixels(clip), random_texts(20, 2, 4), random_texts(20, 4))


@pytest.mark.parametrize("size", [(12, 12), (16, 8), (20, 24), (4, 12)])
def test_other_sizes_read_the_position_embedding_as_open_clip_resizes_it(
    size: tuple[int, int],
) -> None:
    clip = small_clip()
    before = {k: v.clone() for k, v in clip.state_dict().items()}
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    resized = {"visual." + k: v.clone() for k, v in clip.visual.state_dict().items()}
    other = small_clip(image_size=size)
    if size != clip.visual.image_size and size[0] * size[1] != 144:
        open_clip.model.resize_pos_embed(resized, other)
    other.visual.load_state_dict({k.removeprefix("visual."): v for k, v in resized.items()})
    torch.testing.assert_close(
        first_tokens(clip.visual, images), other.visual._embeds(images), rtol=1e-5, atol=1e-5
    )
    found = contribution(clip.visual, images, random_texts(20, 2), random_texts(20, 3)).values
    assert found.shape == (2, 2, size[0] // 4, size[1] // 4)
    for name, weight in clip.state_dict().items():
        torch.testing.assert_close(weight, before[name], rtol=0, atol=0)


def test_a_size_that_is_no_multiple_of_the_patch_is_refused() -> None:
    clip = small_clip()
    with pytest.raises(UsageError, match="14 x 12 pixels: expected multiples of the patch's 4 x 4"):
        contribution(
            clip.visual,
            torch.zeros(1, 3, 12, 14, dtype=torch.float64),
            random_texts(20, 2),
            random_texts(20, 2),
        )


@pytest.mark.parametrize("cells", [1, 200, 10_000])
def test_statistics_of_every_head_are_those_of_its_literal_map(cells: int) -> None:
    clip = small_clip()
    images, texts, labels = pixels(clip), random_texts(20, 4), random_texts(20, 5, seed=2)
    generator = torch.Generator().manual_seed(0)
    regions = (torch.rand(3, 2, 12, 12, generator=generator) < 0.5).double()
    layers = (2, 0)
    found = head_map_statistics(clip.visual, images, texts, labels, regions, layers, cells)
    maps = literal(clip.visual, images, texts, labels)[..., 1:]
    inside = regions.unfold(2, 4, 4).unfold(3, 4, 4).mean((-1, -2)).flatten(2)
    torch.testing.assert_close(found.area, inside.mean(-1))
    for i, layer in enumerate(layers):
        for head in range(3):
            one = maps[layer, head]
            size = one.abs()
            share = size / size.sum(-1, keepdim=True)
            entropy = -(share * share.log()).sum(-1)
            at = (slice(None), i, head)
            torch.testing.assert_close(found.total[at], one.sum(-1))
            torch.testing.assert_close(found.magnitude[at], size.sum(-1))
            torch.testing.assert_close(
                found.focus[at], 1 - entropy / torch.tensor(9.0).double().log()
            )
            torch.testing.assert_close(found.effective_tokens[at], entropy.exp())
            for r in range(2):
                among, region = (slice(None), r, i, head), inside[:, r, None]
                torch.testing.assert_close(found.on_mask[among], (share * region).sum(-1))
                positive = (one.clamp_min(0) * region).sum(-1)
                torch.testing.assert_close(found.positive_in[among], positive)
