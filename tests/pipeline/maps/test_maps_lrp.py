"""Relevance rules and maps against literal loops over single products, and conservation."""

import pytest
import torch

from pipeline.maps import graph, rules
from pipeline.maps.method import MapMethod
from pipeline.maps.methods import lrp
from pipeline.maps.methods.bimodal import bimodal
from tests.maps_literal import embedding, gain, joint, layers_of, random_texts
from tests.towers import pixels, small_clip

TOWERS = {
    "plain": {},
    "layer scale, quick": {"ls_init_value": 0.3, "quick_gelu": True},
    "oblong, no ln_pre": {"image_size": (8, 16), "no_ln_pre": True},
}
towers = pytest.mark.parametrize("options", TOWERS.values(), ids=TOWERS.keys())


def slow_linear(r: torch.Tensor, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Share r[token, out] over the positive products x[token, in] w[out, in], one output a time."""
    out = torch.zeros_like(x)
    for o in range(weight.shape[0]):
        products = (x * weight[o]).clamp(min=0)
        total = products.sum(-1, keepdim=True)
        out += torch.where(total > 0, products / total * r[:, o : o + 1], 0)
    return out


def slow_product(r: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> tuple:
    """Share r[i, j] over the products a[i, c] b[c, j], halves to either factor, one c at a time."""
    r_a, r_b = torch.zeros_like(a), torch.zeros_like(b)
    z = a @ b
    for c in range(a.shape[1]):
        part = torch.where(z != 0, r * a[:, c : c + 1] * b[c : c + 1] / z, 0) / 2
        r_a[:, c] += part.sum(1)
        r_b[c] += part.sum(0)
    return r_a, r_b


def slow_addition(r: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> tuple:
    r_a, r_b = (torch.where(a + b != 0, x * r / (a + b), 0) for x in (a, b))
    weight = abs(r_a.sum()) + abs(r_b.sum())
    return tuple(x / x.sum() * abs(x.sum()) / weight * r.sum() for x in (r_a, r_b))


def slow_relevance(visual, image: torch.Tensor, text: torch.Tensor) -> tuple:
    """Return one picture's relevance of each attention, and of the first block's input."""
    ls = layers_of(visual, image[None])
    z = ls[-1].after[0, 0]
    e = joint(visual, z)
    r_e = slow_linear(torch.ones(1, 1, dtype=z.dtype), e[None], text[None])
    r_z = slow_linear(r_e, visual.ln_post(z)[None], visual.proj.T)
    r = torch.zeros_like(ls[-1].after[0])
    r[0] = r_z[0]
    attentions = []
    for block, layer in reversed(list(zip(visual.transformer.resblocks, ls, strict=True))):
        merged = torch.cat([layer.o[0, h] for h in range(3)], dim=-1)
        written = (merged @ block.attn.out_proj.weight.T + block.attn.out_proj.bias) * gain(
            block.ls_1
        )
        middle = layer.x[0] + written
        u = block.ln_2(middle)
        hidden = block.mlp.gelu(block.mlp.c_fc(u))
        r_middle, r_mlp = slow_addition(r, middle, block.mlp.c_proj(hidden) * gain(block.ls_2))
        r_hidden = slow_linear(r_mlp, hidden, block.mlp.c_proj.weight)
        r_middle = r_middle + slow_linear(r_hidden, u, block.mlp.c_fc.weight)
        r_x, r_written = slow_addition(r_middle, layer.x[0], written)
        r_merged = slow_linear(r_written, merged, block.attn.out_proj.weight)
        r_a, r_q, r_k, r_v = [], [], [], []
        for h in range(3):
            one_a, one_v = slow_product(
                r_merged[:, h * 8 : h * 8 + 8], layer.a[0, h], layer.v[0, h]
            )
            one_q, one_k = slow_product(one_a, layer.q[0, h], layer.k[0, h].T)
            for kept, one in zip((r_a, r_q, r_k, r_v), (one_a, one_q, one_k.T, one_v), strict=True):
                kept.append(one)
        joined = torch.cat([*r_q, *r_k, *r_v], dim=-1)
        r = r_x + slow_linear(joined, layer.y[0], block.attn.in_proj_weight)
        attentions.insert(0, torch.stack(r_a))
    return attentions, r


def slow_pixels(visual, image: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
    """Return the z^B relevance of each pixel, patch by patch and channel by channel."""
    patches = visual.conv1(image[None])[0].flatten(1).T
    raw = torch.cat([visual.class_embedding[None], patches])
    r, _ = slow_addition(r, raw, visual.positional_embedding)
    low, high, out = image.min(), image.max(), torch.zeros_like(image)
    weight = visual.conv1.weight
    side = weight.shape[-1]
    for i in range(len(patches)):
        row, column = divmod(i, visual.grid_size[1])
        here = (
            ...,
            slice(row * side, row * side + side),
            slice(column * side, column * side + side),
        )
        for d in range(weight.shape[0]):
            w = weight[d]
            parts = image[here] * w - low * w.clamp(min=0) - high * w.clamp(max=0)
            out[here] += parts / parts.sum() * r[i + 1, d]
    return out.sum(0)


def compare(method: MapMethod, options: dict, literal) -> None:
    """Compare with `literal(visual, image, text) -> [grid_h, grid_w]`."""
    clip = small_clip(**options)
    images, texts = pixels(clip, 2), random_texts(20, 2)
    found = method(clip.visual, images, texts, texts)
    expected = torch.stack(
        [torch.stack([literal(clip.visual, image, t) for t in texts]) for image in images]
    )
    torch.testing.assert_close(found.values, expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(found.embedding, embedding(clip, images), rtol=1e-9, atol=1e-12)


@towers
def test_partial_lrp(options: dict[str, object]) -> None:
    def literal(visual, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        last = slow_relevance(visual, image, text)[0][-1]
        return (sum(h[0, 1:].clamp(min=0) for h in last) / 3).unflatten(0, visual.grid_size)

    compare(lrp.partial_lrp, options, literal)


@towers
def test_lrp_to_the_pixels(options: dict[str, object]) -> None:
    clip = small_clip(**options)
    images, texts = pixels(clip, 2), random_texts(20, 2)
    found, _ = lrp.lrp_pixels(clip.visual, images, texts)
    coarse = lrp.lrp(clip.visual, images, texts, texts).values
    for b in range(2):
        for k in range(2):
            _, r = slow_relevance(clip.visual, images[b], texts[k])
            expected = slow_pixels(clip.visual, images[b], r)
            torch.testing.assert_close(found[b, k], expected, rtol=1e-5, atol=1e-8)
            patches = expected.unfold(0, 4, 4).unfold(1, 4, 4).sum((-1, -2))
            torch.testing.assert_close(coarse[b, k], patches, rtol=1e-5, atol=1e-8)


@towers
def test_chefer(options: dict[str, object]) -> None:
    def literal(visual, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        relevances, _ = slow_relevance(visual, image, text)
        with graph.differentiable():
            found = graph.forward(visual, image[None])
            slopes = graph.gradients(found.embedding @ text, [layer.a for layer in found.layers])
        product = torch.eye(slopes[0].shape[-1], dtype=torch.float64)
        for slope, r in zip(slopes, relevances, strict=True):
            product = (
                torch.eye(len(product), dtype=torch.float64) + (slope[0] * r).clamp(min=0).mean(0)
            ) @ product
        return product[0, 1:].unflatten(0, visual.grid_size)

    compare(lrp.chefer, options, literal)


def test_rules_conserve_relevance() -> None:
    torch.manual_seed(0)
    # wide enough that no output is without a positive product, whose relevance would be lost
    r, x, w = torch.randn(2, 5, 7), torch.randn(2, 5, 60), torch.randn(7, 60)
    shared = rules.linear(r.double(), x.double(), w.double())
    torch.testing.assert_close(shared.sum(-1), r.double().sum(-1))
    a, b = torch.randn(2, 3, 5, 4).double(), torch.randn(2, 3, 4, 6).double()
    r = torch.randn(2, 3, 5, 6).double()
    r_a, r_b = rules.product(r, a, b)
    torch.testing.assert_close(r_a.sum((-1, -2)) * 2, r.sum((-1, -2)))
    torch.testing.assert_close(r_b.sum((-1, -2)) * 2, r.sum((-1, -2)))
    x, y, r = (torch.randn(2, 5, 4).double() for _ in range(3))
    r_x, r_y = rules.addition(r, x, y)
    torch.testing.assert_close((r_x + r_y).sum((1, 2)), r.sum((1, 2)))
    picture, weight = torch.randn(2, 3, 8, 4).double(), torch.randn(6, 3, 4, 4).double()
    r = torch.randn(2, 6, 2, 1).double()
    fine = rules.pixels_below(r, picture, weight)
    torch.testing.assert_close(fine.sum((1, 2, 3)), r.sum((1, 2, 3)))


def test_a_linear_layer_does_not_double_relevance_where_both_signs_add() -> None:
    x = torch.tensor([[1.0, -1.0]])
    weight = torch.tensor([[1.0, -1.0]])
    torch.testing.assert_close(
        rules.linear(torch.ones(1, 1), x, weight), torch.tensor([[0.5, 0.5]])
    )


@pytest.mark.parametrize("method", [lrp.lrp, lrp.partial_lrp, lrp.chefer, bimodal])
def test_one_text_or_many_gives_the_same_map(method: MapMethod) -> None:
    clip = small_clip()
    images, texts = pixels(clip), random_texts(20, 3)
    together = method(clip.visual, images, texts, texts).values
    alone = method(clip.visual, images, texts[1:2], texts).values
    torch.testing.assert_close(together[:, 1:2], alone, rtol=1e-10, atol=1e-13)
