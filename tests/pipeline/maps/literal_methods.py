"""Every method of maps, literally: `LITERALS[name](tower, b, text, labels)` is one picture's row.

The row has a number for each image token; `tower` is a `LiteralTower`. Derivatives are autograd's,
of the literal forward; tests/pipeline/maps/test_maps_gradient.py has finite differences.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tests.literal_tower import LiteralTower
from tests.pipeline.maps.test_maps_lrp import slow_pixels, slow_relevance

Literal = Callable[[LiteralTower, int, Tensor, Tensor], Tensor]
LITERALS: dict[str, Literal] = {}


def literal(name: str) -> Callable[[Literal], Literal]:
    """Register the literal form of a method."""

    def keep(function: Literal) -> Literal:
        LITERALS[name] = function
        return function

    return keep


def cosines(tower: LiteralTower, b: int, x: Tensor, text: Tensor) -> Tensor:
    return torch.stack([f @ text for f in tower.joint(x)[b, tower.prefix :]])


def scaled(row: Tensor) -> Tensor:
    return (row - row.min()) / (row.max() - row.min())


def attention(q: Tensor, k: Tensor, more: Any = 0.0) -> Tensor:
    scores = (q @ k.mT / math.sqrt(q.shape[-1]) + more).exp()
    return scores / scores.sum(-1, keepdim=True)


def slope(score: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    leaf = at.detach().clone().requires_grad_()
    with torch.enable_grad():
        (found,) = torch.autograd.grad(score(leaf), leaf)
    return found


@literal("tokens")
def tokens(tower: LiteralTower, b: int, text: Tensor, labels: Tensor) -> Tensor:
    return cosines(tower, b, tower.z, text)


@literal("rclip")
def rclip(tower: LiteralTower, b: int, text: Tensor, labels: Tensor) -> Tensor:
    return 1 - scaled(tokens(tower, b, text, labels))


def projections() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return ECLIP's two projections and their biases, random."""
    generator = torch.Generator().manual_seed(4)
    shapes = ((7, 20), (7, 20), (7,), (7,))
    return tuple(torch.randn(*s, generator=generator, dtype=torch.float64) for s in shapes)


@literal("eclip")
def eclip(tower: LiteralTower, b: int, text: Tensor, labels: Tensor) -> Tensor:
    of_image, of_text, image_bias, text_bias = projections()
    t = of_text @ text + text_bias
    row = [of_image @ f + image_bias for f in tower.joint(tower.z)[b, tower.prefix :]]
    return torch.stack([f @ t / (f.norm() * t.norm()) for f in row])


@literal("attention")
def raw_attention(tower: LiteralTower, b: int, text: Tensor, labels: Tensor) -> Tensor:
    heads = tower.layers[-1].a[b]
    return sum(h[0, tower.prefix :] for h in heads) / len(heads)


def rolled_out(tower: LiteralTower, b: int, first: int = 1) -> list[Tensor]:
    """Return the products of mean attention and identity, before each layer and at the end."""
    eye = torch.eye(tower.z.shape[1], dtype=torch.float64)
    found = [eye]
    for number, layer in enumerate(tower.layers):
        hat = layer.a[b].mean(0) + eye
        step = torch.diag(1 / hat.sum(1)) @ hat if number >= first else eye
        found.append(step @ found[-1])
    return found


@literal("rollout")
def rollout(tower: LiteralTower, b: int, text: Tensor, labels: Tensor) -> Tensor:
    return rolled_out(tower, b)[-1][0, tower.prefix :]


def last_block(tower: LiteralTower, a: Tensor, alone: bool) -> Tensor:
    last, index = tower.layers[-1], len(tower.layers) - 1
    o = a @ last.v
    return tower.out(index, o) if alone else tower.after(index, last.x, o)


@literal("maskclip")
def maskclip(tower: LiteralTower, b: int, text: Tensor, labels: Tensor) -> Tensor:
    eye = torch.eye(tower.z.shape[1], dtype=torch.float64)
    return cosines(tower, b, last_block(tower, eye, False), text)


@literal("sclip")
def sclip(tower: LiteralTower, b: int, text: Tensor, labels: Tensor) -> Tensor:
    last = tower.layers[-1]
    a = attention(last.q, last.q) + attention(last.k, last.k)
    return cosines(tower, b, last_block(tower, a, False), text)


@literal("clearclip")
def clearclip(tower: LiteralTower, b: int, text: Tensor, labels: Tensor) -> Tensor:
    last = tower.layers[-1]
    return cosines(tower, b, last_block(tower, attention(last.q, last.q), True), text)


@literal("naclip")
def naclip(tower: LiteralTower, b: int, text: Tensor, labels: Tensor) -> Tensor:
    last, (_, columns) = tower.layers[-1], tower.grid
    n, prefix = last.x.shape[1], tower.prefix
    window = torch.zeros(n, n, dtype=torch.float64)
    for i in range(prefix, n):
        for j in range(prefix, n):
            (r0, c0), (r1, c1) = divmod(i - prefix, columns), divmod(j - prefix, columns)
            window[i, j] = math.exp(-((r0 - r1) ** 2 + (c0 - c1) ** 2) / (2 * 5.0**2))
    a = attention(last.k, last.k, window)
    return cosines(tower, b, last_block(tower, a, True), text)


def value_value(layer: Any) -> Tensor:
    return attention(layer.v, layer.v) @ layer.v


def second_path(tower: LiteralTower, operator: Callable[[Any], Tensor], depth: int = 6) -> Tensor:
    start = max(0, len(tower.layers) - depth)
    other = tower.layers[start].x
    for index in range(start, len(tower.layers)):
        other = other + tower.out(index, operator(tower.layers[index]))
    return other


@literal("surgery")
def surgery(tower: LiteralTower, b: int, text: Tensor, labels: Tensor) -> Tensor:
    return cosines(tower, b, second_path(tower, value_value), text)


@literal("surgery-features")
def surgery_features(tower: LiteralTower, b: int, text: Tensor, labels: Tensor) -> Tensor:
    cls = tower.embedding[b]
    e = [math.exp(2 * float(cls @ label)) for label in labels]
    mean = sum(e) / len(e)
    common = sum(w / mean * surgery(tower, b, k, labels) for w, k in zip(e, labels, strict=True))
    own = math.exp(2 * float(cls @ text)) / mean * surgery(tower, b, text, labels)
    return own - common / len(labels)


@literal("gem")
def gem(tower: LiteralTower, b: int, text: Tensor, labels: Tensor, rounds: int = 1) -> Tensor:
    def operator(layer: Any) -> Tensor:
        out = torch.zeros_like(layer.v)
        for i in range(len(layer.x)):
            tau = sum(y.norm() for y in layer.y[i]) / len(layer.y[i]) / layer.v.shape[-1] ** 0.5
            for part in (layer.q, layer.k, layer.v):
                unit = part[i] / part[i].norm(dim=-1, keepdim=True)
                for _ in range(rounds):
                    unit = (unit @ unit.mT * tau).softmax(-1) @ unit
                    unit = unit / unit.norm(dim=-1, keepdim=True)
                out[i] += (unit @ unit.mT * tau).softmax(-1) @ layer.v[i] / 3
        return out

    return cosines(tower, b, second_path(tower, operator), text)


def attention_slope(tower: LiteralTower, index: int, b: int, text: Tensor) -> Tensor:
    """Return ∂ cosine / ∂A of a layer of one picture."""
    layer, gate = tower.layers[index], tower.gates[index]

    def score(a: Tensor) -> Tensor:
        return tower.joint(tower.resume(index, a @ layer.v * gate)[:, 0])[b] @ text

    return slope(score, layer.a)[b]


@literal("attention-gradcam")
def attention_gradcam(tower: LiteralTower, b: int, text: Tensor, labels: Tensor) -> Tensor:
    s, a = attention_slope(tower, len(tower.layers) - 1, b, text), tower.layers[-1].a[b]
    image = slice(tower.prefix, None)
    heads = [s[h, 0, image].mean() * a[h, 0, image] for h in range(len(a))]
    return (sum(heads) / len(a)).clamp(min=0)


@literal("gradcam")
def gradcam(tower: LiteralTower, b: int, text: Tensor, labels: Tensor) -> Tensor:
    index, last = len(tower.layers) - 1, tower.layers[-1]

    def score(y: Tensor) -> Tensor:
        q, k, v = tower.qkv(index, y)
        a = attention(q, k, tower.bias(index))
        return tower.joint(tower.after(index, last.x, a @ v)[:, 0])[b] @ text

    weight = slope(score, last.y)[b, tower.prefix :].mean(0)
    return torch.stack([(weight @ y).clamp(min=0) for y in last.y[b, tower.prefix :]])


@literal("chefer-bimodal")
def chefer_bimodal(tower: LiteralTower, b: int, text: Tensor, labels: Tensor) -> Tensor:
    layer = tower.layers[-1]
    s = 100.0 * attention_slope(tower, len(tower.layers) - 1, b, text)
    r = torch.eye(len(s[0]), dtype=torch.float64) + (s * layer.a[b]).clamp(min=0).mean(0)
    return r[0, tower.prefix :]


@literal("grad-eclip")
def grad_eclip(tower: LiteralTower, b: int, text: Tensor, labels: Tensor) -> Tensor:
    index, last = len(tower.layers) - 1, tower.layers[-1]

    def score(o: Tensor) -> Tensor:
        return tower.joint(tower.resume(index, o)[:, 0])[b] @ text

    g, q = slope(score, last.o)[b, :, 0].flatten(), last.q[b, :, 0].flatten()
    near, lit = [], []
    for i in range(tower.prefix, last.x.shape[1]):
        k = last.k[b, :, i].flatten()
        near.append(q @ k / (q.norm() * k.norm()))
        lit.append(g @ last.v[b, :, i].flatten())
    low, high = min(near), max(near)
    return torch.stack(
        [(m * (c - low) / (high - low)).clamp(min=0) for m, c in zip(lit, near, strict=True)]
    )


@literal("legrad")
def legrad(tower: LiteralTower, b: int, text: Tensor, labels: Tensor) -> Tensor:
    total = torch.zeros(tower.z.shape[1], dtype=torch.float64)
    for index in range(max(0, len(tower.layers) - 2), len(tower.layers)):
        layer = tower.layers[index]

        def score(a: Tensor, index: int = index, layer: Any = layer) -> Tensor:
            o = a @ layer.v * tower.gates[index]
            return tower.joint(tower.after(index, layer.x, o).mean(1))[b] @ text

        total += slope(score, layer.a)[b].clamp(min=0).mean((0, 1))
    return total[tower.prefix :]


@literal("traced-contribution")
def traced_contribution(tower: LiteralTower, b: int, text: Tensor, labels: Tensor) -> Tensor:
    asked, rolled = text - labels.mean(0), rolled_out(tower, b)
    total = torch.zeros(tower.z.shape[1], dtype=torch.float64)
    # σ and the embedding's norm are left out of this method
    scale = tower.norm[b] * sigma(tower)[b]
    for index in range(len(tower.layers)):
        parts = [tower.read(part)[b] @ asked * scale for part in token_parts(tower, index)]
        total += torch.stack(parts) @ rolled[index]
    image = total[tower.prefix :]
    return (image - image.min()) * scaled(rolled[-1][0, tower.prefix :])


def sigma(tower: LiteralTower) -> Tensor:
    """Return the last LayerNorm's scale at the class token."""
    norm = tower.visual.ln_post if tower.own else tower.trunk.norm
    return (tower.z[:, 0].var(-1, correction=0) + norm.eps).sqrt()


def token_parts(tower: LiteralTower, index: int) -> list[Tensor]:
    """Return what all heads of a layer add to every token from each token that they read."""
    layer, gate, found = tower.layers[index], tower.gates[index], []
    for j in range(layer.x.shape[1]):
        read = layer.a[..., j, None] * layer.v[:, :, j, None] * gate
        each = [tower.written(index, h, read[:, h]) for h in range(read.shape[1])]
        found.append(sum(each))
    return found


@literal("contribution")
def contribution(tower: LiteralTower, b: int, text: Tensor, labels: Tensor) -> Tensor:
    asked = text - labels.mean(0)
    rows = [
        torch.stack([tower.read(part)[b] @ asked for part in token_parts(tower, index)])
        for index in range(len(tower.layers))
    ]
    return sum(rows)[tower.prefix :]


KEPT: dict[tuple[int, int, tuple[float, ...]], tuple[list[Tensor], Tensor]] = {}


def relevance(tower: LiteralTower, b: int, text: Tensor) -> tuple[list[Tensor], Tensor]:
    """Return LRP's relevance of each attention and of the first tokens: slow, so kept."""
    key = (id(tower), b, tuple(text.tolist()))
    if key not in KEPT:
        KEPT[key] = slow_relevance(tower.visual, tower.images[b], text)
    return KEPT[key]


@literal("partial-lrp")
def partial_lrp(tower: LiteralTower, b: int, text: Tensor, labels: Tensor) -> Tensor:
    last = relevance(tower, b, text)[0][-1]
    return sum(h[0, 1:].clamp(min=0) for h in last) / len(last)


@literal("chefer")
def chefer(tower: LiteralTower, b: int, text: Tensor, labels: Tensor) -> Tensor:
    relevances, _ = relevance(tower, b, text)
    eye = torch.eye(tower.z.shape[1], dtype=torch.float64)
    product = eye
    for index, r in enumerate(relevances):
        s = attention_slope(tower, index, b, text)
        product = (eye + (s * r).clamp(min=0).mean(0)) @ product
    return product[0, 1:]


@literal("lrp")
def lrp(tower: LiteralTower, b: int, text: Tensor, labels: Tensor) -> Tensor:
    _, r = relevance(tower, b, text)
    fine = slow_pixels(tower.visual, tower.images[b], r)
    return fine.unfold(0, 4, 4).unfold(1, 4, 4).sum((-1, -2)).flatten()
