"""Tokens, attention, rollout, last-block methods, surgery and GEM against literal computations."""

import math

import pytest
import torch

from pipeline.maps.base import Maps
from pipeline.maps.method import MapMethod
from pipeline.maps.methods import attention, gem, last_block, rollout, surgery, tokens
from schemas.errors import UnsupportedModel, UsageError
from tests.maps_literal import Layer, attend_out, embedding, gain, joint, layers_of, random_texts
from tests.towers import pixels, small_clip

TOWERS = {
    "plain": {},
    "layer scale": {"ls_init_value": 0.3},
    "oblong, no ln_pre": {"image_size": (8, 16), "no_ln_pre": True},
}
towers = pytest.mark.parametrize("options", TOWERS.values(), ids=TOWERS.keys())


def check(method: MapMethod, options: dict, literal) -> Maps:
    """Compare with `literal(visual, layers, texts)`, [image, text, token] without class token."""
    clip = small_clip(**options)
    images, texts, labels = pixels(clip), random_texts(20, 4), random_texts(20, 5, seed=9)
    found = method(clip.visual, images, texts, labels)
    expected = literal(clip.visual, layers_of(clip.visual, images), texts)
    torch.testing.assert_close(
        found.values, expected.unflatten(-1, clip.visual.grid_size), rtol=1e-9, atol=1e-12
    )
    torch.testing.assert_close(found.embedding, embedding(clip, images), rtol=1e-9, atol=1e-12)
    return found


def cosine_rows(visual, x: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    features = joint(visual, x)
    rows = [[features[:, i] @ t for i in range(1, x.shape[1])] for t in texts]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=1)


@towers
def test_plain_tokens(options: dict[str, object]) -> None:
    check(tokens.tokens, options, lambda visual, ls, t: cosine_rows(visual, ls[-1].after, t))


@towers
def test_reversed_tokens_are_one_minus_the_scaled_plain_map(options: dict[str, object]) -> None:
    def literal(visual, ls: list[Layer], t: torch.Tensor) -> torch.Tensor:
        plain = cosine_rows(visual, ls[-1].after, t)
        low, high = plain.min(-1, keepdim=True).values, plain.max(-1, keepdim=True).values
        return 1 - (plain - low) / (high - low)

    check(tokens.reversed_tokens, options, literal)


@towers
def test_raw_attention(options: dict[str, object]) -> None:
    def literal(visual, ls: list[Layer], t: torch.Tensor) -> torch.Tensor:
        row = sum(ls[-1].a[:, h, 0, 1:] for h in range(3)) / 3
        return torch.stack([row] * len(t), dim=1)

    check(attention.raw_attention, options, literal)


@towers
@pytest.mark.parametrize("first", [0, 1])
def test_rollout(options: dict[str, object], first: int) -> None:
    def literal(visual, ls: list[Layer], t: torch.Tensor) -> torch.Tensor:
        pictures = []
        for b in range(len(ls[0].x)):
            product = torch.eye(ls[0].x.shape[1], dtype=torch.float64)
            for layer in ls[first:]:
                hat = layer.a[b].mean(0) + torch.eye(len(product), dtype=torch.float64)
                product = torch.diag(1 / hat.sum(1)) @ hat @ product
            pictures.append(product[0, 1:])
        return torch.stack([torch.stack(pictures)] * len(t), dim=1)

    def method(visual, images, texts, labels) -> Maps:
        return rollout.rollout(visual, images, texts, labels, first=first)

    check(method, options, literal)


def softmax_rows(scores: torch.Tensor) -> torch.Tensor:
    top = scores.max(-1, keepdim=True).values
    return (scores - top).exp() / (scores - top).exp().sum(-1, keepdim=True)


@towers
@pytest.mark.parametrize("name", ["maskclip", "sclip", "clearclip", "naclip"])
def test_last_block_methods(options: dict[str, object], name: str) -> None:
    def literal(visual, ls: list[Layer], t: torch.Tensor) -> torch.Tensor:
        block, last = visual.transformer.resblocks[-1], ls[-1]
        s = last.q.shape[-1] ** -0.5
        n, (_, columns) = last.x.shape[1], visual.grid_size
        window = torch.zeros(n, n, dtype=torch.float64)
        for i in range(1, n):
            for j in range(1, n):
                (r0, c0), (r1, c1) = divmod(i - 1, columns), divmod(j - 1, columns)
                window[i, j] = math.exp(-((r0 - r1) ** 2 + (c0 - c1) ** 2) / (2 * 5.0**2))
        a = {
            "maskclip": torch.eye(n, dtype=torch.float64).expand(*last.a.shape),
            "sclip": softmax_rows(last.q @ last.q.mT * s) + softmax_rows(last.k @ last.k.mT * s),
            "clearclip": softmax_rows(last.q @ last.q.mT * s),
            "naclip": softmax_rows(last.k @ last.k.mT * s + window),
        }[name]
        x = attend_out(block, a @ last.v)
        if name in ("maskclip", "sclip"):
            x = last.x + x
            x = x + block.mlp(block.ln_2(x)) * gain(block.ls_2)
        return cosine_rows(visual, x, t)

    check(getattr(last_block, name), options, literal)


def second_path(visual, ls: list[Layer], operator, depth: int) -> torch.Tensor:
    start = max(0, len(ls) - depth)
    other = ls[start].x
    for block, layer in list(zip(visual.transformer.resblocks, ls, strict=True))[start:]:
        other = other + attend_out(block, operator(layer))
    return other


def value_value(layer: Layer) -> torch.Tensor:
    return softmax_rows(layer.v @ layer.v.mT / math.sqrt(layer.v.shape[-1])) @ layer.v


def gem_attention(layer: Layer, iterations: int = 1) -> torch.Tensor:
    out = torch.zeros_like(layer.v)
    for b in range(len(layer.x)):
        tau = sum(y.norm() for y in layer.y[b]) / len(layer.y[b]) / math.sqrt(layer.v.shape[-1])
        for part in (layer.q, layer.k, layer.v):
            unit = part[b] / part[b].norm(dim=-1, keepdim=True)
            for _ in range(iterations):
                unit = softmax_rows(unit @ unit.mT * tau) @ unit
                unit = unit / unit.norm(dim=-1, keepdim=True)
            out[b] += softmax_rows(unit @ unit.mT * tau) @ layer.v[b] / 3
    return out


@towers
@pytest.mark.parametrize(
    ("method", "operator"), [(surgery.surgery, value_value), (gem.gem, gem_attention)]
)
def test_second_path(options: dict[str, object], method: MapMethod, operator) -> None:
    check(
        method,
        options,
        lambda visual, ls, t: cosine_rows(visual, second_path(visual, ls, operator, 6), t),
    )


@pytest.mark.parametrize("iterations", [0, 2])
def test_gem_with_other_rounds(iterations: int) -> None:
    def operator(layer: Layer) -> torch.Tensor:
        return gem_attention(layer, iterations)

    def method(visual, images, texts, labels) -> Maps:
        return gem.gem(visual, images, texts, labels, iterations=iterations)

    check(
        method,
        {},
        lambda visual, ls, t: cosine_rows(visual, second_path(visual, ls, operator, 6), t),
    )


@pytest.mark.parametrize("depth", [1, 2])
def test_the_paths_part_so_many_blocks_before_the_end(depth: int) -> None:
    clip = small_clip()
    images = pixels(clip)
    found, cls = surgery.second_path(clip.visual, images, surgery.value_value, depth)
    ls = layers_of(clip.visual, images)
    expected = joint(clip.visual, second_path(clip.visual, ls, value_value, depth))
    torch.testing.assert_close(found[:, 1:], expected[:, 1:])
    torch.testing.assert_close(cls, joint(clip.visual, ls[-1].after[:, 0]))


@towers
def test_feature_surgery(options: dict[str, object]) -> None:
    labels = random_texts(20, 5, seed=9)

    def literal(visual, ls: list[Layer], t: torch.Tensor) -> torch.Tensor:
        f = joint(visual, second_path(visual, ls, value_value, 6))
        cls = joint(visual, ls[-1].after[:, 0])
        out = torch.zeros(len(f), len(t), f.shape[1] - 1, dtype=torch.float64)
        for b in range(len(f)):
            e = [math.exp(2 * float(cls[b] @ label)) for label in labels]
            mean = sum(e) / len(e)
            for i in range(1, f.shape[1]):
                common = sum(
                    w / mean * (f[b, i] @ label) for w, label in zip(e, labels, strict=True)
                )
                for k, text in enumerate(t):
                    w = math.exp(2 * float(cls[b] @ text)) / mean
                    out[b, k, i - 1] = w * (f[b, i] @ text) - common / len(labels)
        return out

    check(surgery.feature_surgery, options, literal)


def test_feature_surgery_of_one_text_is_its_difference_from_the_empty_text() -> None:
    clip = small_clip()
    images, text, empty = pixels(clip), random_texts(20, 1), random_texts(20, 1, seed=3)
    found = surgery.feature_surgery(clip.visual, images, text, empty).values
    plain = surgery.surgery(clip.visual, images, torch.cat([text, empty]), empty).values
    torch.testing.assert_close(found[:, 0], plain[:, 0] - plain[:, 1])
    with pytest.raises(UsageError, match="zero everywhere"):
        surgery.feature_surgery(clip.visual, images, text, text)


def test_feature_surgery_sums_to_zero_over_the_label_set() -> None:
    clip = small_clip()
    labels = random_texts(20, 6)
    values = surgery.feature_surgery(clip.visual, pixels(clip), labels, labels).values
    torch.testing.assert_close(values.sum(1), torch.zeros_like(values[:, 0]), atol=1e-12, rtol=0)


def test_methods_of_the_class_token_refuse_average_pooling() -> None:
    clip = small_clip(pool_type="avg", final_ln_after_pool=True)
    texts = random_texts(20, 2)
    with pytest.raises(UnsupportedModel, match="NACLIP reads the class token"):
        last_block.naclip(clip.visual, pixels(clip), texts, texts)
    found = tokens.tokens(clip.visual, pixels(clip), texts, texts)
    torch.testing.assert_close(found.embedding, embedding(clip, pixels(clip)))
