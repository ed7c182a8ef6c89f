"""Gradient methods against literal loops whose derivatives are taken by finite differences."""

import numpy as np
import pytest
import torch
from open_clip.transformer import VisionTransformer
from pytorch_grad_cam import GradCAM
from torch import nn

from pipeline.maps.method import MapMethod
from pipeline.maps.methods.bimodal import bimodal
from pipeline.maps.methods.grad_eclip import grad_eclip
from pipeline.maps.methods.gradcam import activation_gradcam, attention_gradcam
from pipeline.maps.methods.legrad import legrad
from pipeline.maps.registry import DECLARED, method_named
from tests.maps_literal import (
    Layer,
    attend_out,
    embedding,
    gain,
    joint,
    layers_of,
    random_texts,
    run_block,
)
from tests.towers import pixels, small_clip

STEP = 1e-5
TOWERS = {
    "plain": {},
    "layer scale, quick": {"ls_init_value": 0.3, "quick_gelu": True},
    "oblong": {"image_size": (8, 16)},
}
towers = pytest.mark.parametrize("options", TOWERS.values(), ids=TOWERS.keys())


def resume(visual: VisionTransformer, layer: Layer, index: int, o: torch.Tensor) -> torch.Tensor:
    """Return the last residual stream, with heads' outputs of layer `index` replaced."""
    block = visual.transformer.resblocks[index]
    x = layer.x + attend_out(block, o)
    x = x + block.mlp(block.ln_2(x)) * gain(block.ls_2)
    for later in visual.transformer.resblocks[index + 1 :]:
        x = run_block(later, x).after
    return x


def slope(score, at: torch.Tensor) -> torch.Tensor:
    """Return d score / d at by central differences in each entry; `at` is one picture's, [1, ...].

    `score` takes pictures side by side: each is the one with another entry moved.
    """
    moved = STEP * torch.eye(at.numel(), dtype=at.dtype).unflatten(-1, at.shape[1:])
    rises = [score(at + step) - score(at - step) for step in moved.split(256)]
    return torch.cat(rises).view_as(at) / (2 * STEP)


def attention_slope(visual, layer: Layer, index: int, text: torch.Tensor) -> torch.Tensor:
    """Return ∂y/∂A of one layer of one picture, [head, query, key]."""

    def score(a: torch.Tensor) -> torch.Tensor:
        x = resume(visual, layer, index, a @ layer.v)
        return joint(visual, x[:, 0]) @ text

    return slope(score, layer.a)[0]


def check(method: MapMethod, options: dict, literal, **chosen: object) -> None:
    """Compare with `literal(visual, layers, text) -> [token]` of one picture, class token first."""
    clip = small_clip(**options)
    images, texts = pixels(clip, 2), random_texts(20, 2)
    found = method(clip.visual, images, texts, texts, **chosen)
    rows = [
        [literal(clip.visual, layers_of(clip.visual, images[b : b + 1]), t) for t in texts]
        for b in range(2)
    ]
    expected = torch.stack([torch.stack(row) for row in rows])[..., 1:]
    expected = expected.unflatten(-1, clip.visual.grid_size)
    scale = float(expected.abs().max())
    torch.testing.assert_close(found.values, expected, rtol=1e-4, atol=1e-6 * scale)
    torch.testing.assert_close(found.embedding, embedding(clip, images), rtol=1e-9, atol=1e-12)
    assert not found.values.requires_grad and all(p.grad is None for p in clip.parameters())
    with torch.inference_mode():
        again = method(clip.visual, images.clone(), texts.clone(), texts, **chosen)
    torch.testing.assert_close(again.values, found.values, rtol=0, atol=0)


@towers
def test_attention_gradcam(options: dict[str, object]) -> None:
    def literal(visual, ls: list[Layer], text: torch.Tensor) -> torch.Tensor:
        s = attention_slope(visual, ls[-1], 2, text)
        n = ls[-1].a.shape[-1]
        heads = [
            sum(s[h, 0, i] for i in range(1, n)) / (n - 1) * ls[-1].a[0, h, 0] for h in range(3)
        ]
        return (sum(heads) / 3).clamp(min=0)

    check(attention_gradcam, options, literal)


@towers
def test_activation_gradcam(options: dict[str, object]) -> None:
    def literal(visual, ls: list[Layer], text: torch.Tensor) -> torch.Tensor:
        block, last = visual.transformer.resblocks[-1], ls[-1]

        def score(y: torch.Tensor) -> torch.Tensor:
            qkv = y @ block.attn.in_proj_weight.T + block.attn.in_proj_bias
            q, k, v = qkv.unflatten(-1, (3, 3, -1)).permute(2, 0, 3, 1, 4)
            o = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1) @ v
            return joint(visual, resume(visual, last, 2, o)[:, 0]) @ text

        s = slope(score, last.y)[0]
        weight = s[1:].mean(0)
        return torch.stack([(weight @ token).clamp(min=0) for token in last.y[0]])

    check(activation_gradcam, options, literal)


class Tapped(nn.Module):
    """Cosines with texts, with an Identity at ln_1 of the last block for the library to hook."""

    def __init__(self, visual: VisionTransformer, texts: torch.Tensor) -> None:
        super().__init__()
        self.visual, self.texts, self.tap = visual, texts, nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.visual._embeds(images)
        *first, last = self.visual.transformer.resblocks
        for block in first:
            x = run_block(block, x).after
        y = self.tap(last.ln_1(x))
        qkv = y @ last.attn.in_proj_weight.T + last.attn.in_proj_bias
        q, k, v = qkv.unflatten(-1, (3, last.attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + attend_out(last, (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1) @ v)
        x = x + last.mlp(last.ln_2(x))
        return joint(self.visual, x[:, 0]) @ self.texts.T


def test_activation_gradcam_is_that_of_the_library() -> None:
    clip = small_clip()
    images, texts = pixels(clip, 3), random_texts(20, 2)
    rows, columns = clip.visual.grid_size

    def as_picture(x: torch.Tensor) -> torch.Tensor:
        return x[:, 1:].unflatten(1, (rows, columns)).permute(0, 3, 1, 2)

    tapped = Tapped(clip.visual, texts)
    found = activation_gradcam(clip.visual, images, texts, texts).values
    with GradCAM(tapped, [tapped.tap], reshape_transform=as_picture) as cam:
        for index in range(2):
            targets = [lambda scores, index=index: scores[index]] * 3
            cam.forward(images.clone().requires_grad_(), targets)
            acts = cam.activations_and_grads.activations[0].numpy()
            grads = cam.activations_and_grads.gradients[0].numpy()
            plain = cam.get_cam_image(images, tapped.tap, targets, acts, grads)
            np.testing.assert_allclose(found[:, index].numpy(), plain.clip(0), rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "layers", "score"),
    [
        *((options, 1, "logit") for options in TOWERS.values()),
        ({"ls_init_value": 0.3}, None, "cosine"),
        ({}, None, "logit"),
    ],
)
def test_bimodal(options: dict[str, object], layers: int | None, score: str) -> None:
    scale = 20.0 if score == "logit" else 1.0

    def literal(visual, ls: list[Layer], text: torch.Tensor) -> torch.Tensor:
        r = torch.eye(ls[0].x.shape[1], dtype=torch.float64)
        for index, layer in enumerate(ls):
            if layers is None or index >= len(ls) - layers:
                s = scale * attention_slope(visual, layer, index, text)
                r = r + (s * layer.a[0]).clamp(min=0).mean(0) @ r
        return r[0]

    check(bimodal, options, literal, layers=layers, score=score, logit_scale=20.0)


def test_what_is_published_is_the_default() -> None:
    clip, images = small_clip(), pixels(small_clip())
    texts = random_texts(20, 2)

    def values(name: str, **chosen: object) -> torch.Tensor:
        return DECLARED[name].run(clip.visual, images, texts, texts, **chosen).values

    published = {
        "legrad": {"layers": 2},
        "gem": {"iterations": 1},
        "chefer-bimodal": {"layers": 1, "score": "logit"},
    }
    for name, chosen in published.items():
        assert torch.equal(values(name), values(name, **chosen))
    other = method_named("chefer-bimodal:layers=all:score=cosine")
    found = other.run(clip.visual, images, texts, texts).values
    assert torch.equal(found, values("chefer-bimodal", layers=None, score="cosine"))
    assert not torch.equal(found, values("chefer-bimodal"))


@towers
def test_grad_eclip(options: dict[str, object]) -> None:
    def literal(visual, ls: list[Layer], text: torch.Tensor) -> torch.Tensor:
        last = ls[-1]

        def score(cls: torch.Tensor) -> torch.Tensor:
            rest = last.o[:, :, 1:].expand(len(cls), -1, -1, -1)
            o = torch.cat([cls, rest], dim=2)
            return joint(visual, resume(visual, last, 2, o)[:, 0]) @ text

        g = slope(score, last.o[:, :, :1])[0, :, 0].flatten()
        q = last.q[0, :, 0].flatten()
        near, lit = [], []
        for i in range(last.x.shape[1]):
            k = last.k[0, :, i].flatten()
            near.append(q @ k / (q.norm() * k.norm()))
            lit.append(g @ last.v[0, :, i].flatten())
        low, high = min(near[1:]), max(near[1:])
        return torch.stack(
            [(m * (c - low) / (high - low)).clamp(min=0) for m, c in zip(lit, near, strict=True)]
        )

    check(grad_eclip, options, literal)


@pytest.mark.parametrize(
    ("options", "layers"), [*((options, 2) for options in TOWERS.values()), ({}, None)]
)
def test_legrad(options: dict[str, object], layers: int | None) -> None:
    def literal(visual, ls: list[Layer], text: torch.Tensor) -> torch.Tensor:
        total = 0
        pairs = list(zip(visual.transformer.resblocks, ls, strict=True))
        for block, layer in pairs[-(layers or len(pairs)) :]:

            def score(a: torch.Tensor, block=block, layer=layer) -> torch.Tensor:
                x = layer.x + attend_out(block, a @ layer.v)
                x = x + block.mlp(block.ln_2(x)) * gain(block.ls_2)
                return joint(visual, x.mean(1)) @ text

            s = slope(score, layer.a)[0].clamp(min=0)
            n = s.shape[-1]
            total = total + torch.stack([s[:, :, i].sum() / (3 * n) for i in range(n)])
        return total

    check(legrad, options, literal, layers=layers)
