"""Small models with every text tower that the decomposition supports, nothing trivial in them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from open_clip.coca_model import CoCa
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.transformer import Attention, TextTransformer

from tests.towers import VISION

PLACES, VOCABULARY = 8, 30
TEXT = {
    "context_length": PLACES,
    "vocab_size": VOCABULARY,
    "width": 24,
    "heads": 3,
    "layers": 3,
}
CUSTOM = {
    "qk_norm": True,
    "scale_heads": True,
    "scale_attn_inner": True,
    "scale_attn": True,
    "scale_fc": True,
    "ls_init_value": 0.3,
}
COCA = {"context_length": PLACES + 1, "vocab_size": VOCABULARY, "width": 24, "heads": 3}
SIGLIP = {
    "no_causal_mask": True,
    "pool_type": "last",
    "proj_bias": True,
    "norm_kwargs": {"eps": 1e-3},
    "act_kwargs": {"approximate": "tanh"},
}


def _clip(d_joint: int = 20, **text: Any) -> CLIP:
    return CLIP(d_joint, VISION, {**TEXT, **text}, quick_gelu=text.get("width") is None)


def _custom(d_joint: int = 20, **text: Any) -> CustomTextCLIP:
    return CustomTextCLIP(d_joint, VISION, {**TEXT, **text})


def _coca(**text: Any) -> CoCa:
    wanted = {**TEXT, "embed_cls": True, "output_tokens": True, **text}
    return CoCa(20, {**COCA, "layers": 1}, wanted, {**VISION, "output_tokens": True})


def _bare(correct: bool = False, **options: Any) -> CustomTextCLIP:
    """Options that open_clip's configs cannot say and its class has."""
    model = _custom()
    model.text = TextTransformer(**TEXT, output_dim=20, correct_cls_mask=correct, **options)
    return model


TEXTS: dict[str, Callable[[], Any]] = {
    "CLIP": _clip,
    "CLIP, end of text": partial(_clip, pool_type="eos", eos_id=VOCABULARY - 1),
    "CLIP, last": partial(_clip, pool_type="last", no_causal_mask=True),
    "CLIP, first, both ways": partial(_clip, pool_type="first", no_causal_mask=True),
    "CLIP, projection with a bias": partial(_clip, proj_bias=True),
    "CLIP, no projection": partial(_clip, d_joint=24, proj_type="none"),
    "CLIP, custom block": partial(_clip, **CUSTOM),
    "own model": _custom,
    "own model, SigLIP": partial(_custom, **SIGLIP),
    "own model, no projection": partial(
        _custom, d_joint=24, proj_type="none", no_causal_mask=True, pool_type="last"
    ),
    "own model, custom block, end of text": partial(
        _custom, **CUSTOM, pool_type="eos", eos_id=VOCABULARY - 1
    ),
    "CoCa": _coca,
    "CoCa, custom block": partial(_coca, **CUSTOM),
    "class embedding, correct mask": partial(_bare, correct=True, embed_cls=True),
    "padding masked both ways": partial(_bare, no_causal_mask=True, use_pad_mask=True),
    "class embedding, both ways": partial(_bare, no_causal_mask=True, embed_cls=True),
}


def small_text_model(name: str, seed: int = 0) -> Any:
    """Return a float64 model in evaluation mode, all parameters of its texts random, not small."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = TEXTS[name]().double().eval()
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if not key.startswith("visual"):
                    noise = torch.randn_like(parameter) * 0.3
                    scale = parameter.ndim < 2 or "head_scale" in key
                    parameter.copy_(parameter + noise if scale else noise)
    return model.requires_grad_(False)


def token_ids(n: int = 3, seed: int = 1) -> torch.Tensor:
    """Return n texts of several lengths: a start, words, one end (the highest id), padding 0."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, VOCABULARY - 2, (n, PLACES), generator=generator)
    ids[:, 0] = VOCABULARY - 2
    for row in range(n):
        end = 2 + row % (PLACES - 2)
        ids[row, end] = VOCABULARY - 1
        ids[row, end + 1 :] = 0
    return ids


def literal(model: Any, ids: torch.Tensor) -> dict[Any, torch.Tensor]:
    """Compute every term of each text's embedding by loops over tokens and heads, from the weights.

    ("token", layer, head, place) are what a head reads from one token; not divided by the norm.
    """
    own = type(model) is CLIP
    parts = model if own else model.text
    appended = None if own else parts.cls_emb
    kind = model.text_pool_type if own else parts.pool_type
    rows = [_one(parts, appended, kind, own, row) for row in ids]
    return {key: torch.stack([row[key] for row in rows]) for key in rows[0]}


def _one(parts: Any, appended: Any, kind: str, own: bool, ids: torch.Tensor) -> dict[Any, Any]:
    x = parts.token_embedding.weight[ids]
    if appended is not None:
        x = torch.cat([x, appended[None]])
    n = len(x)
    x = x + parts.positional_embedding[:n]
    mask = torch.zeros(n, n, dtype=x.dtype)
    for i in range(n):
        for j in range(n):
            hidden = parts.attn_mask is not None and j > i
            if not own and (parts.use_pad_mask or appended is not None):
                of = ids.tolist()
                if appended is not None:
                    of = [*of, -1] if parts.correct_cls_mask else [-1, *of]
                hidden = hidden or of[j] == parts.pad_id
            mask[i, j] = -torch.inf if hidden else 0
    if appended is not None or kind == "last":
        read = n - 1
    elif kind == "first":
        read = 0
    else:
        read = int((ids == VOCABULARY - 1).nonzero()[0])
    terms: dict[Any, torch.Tensor] = {"init": x[read]}
    for layer, block in enumerate(parts.transformer.resblocks):
        attn = block.attn
        custom = type(attn) is Attention
        width, n_heads = x.shape[1], attn.num_heads
        d = width // n_heads
        gain = getattr(block.ls_1, "gamma", torch.ones(width, dtype=x.dtype))
        qkv = block.ln_1(x) @ attn.in_proj_weight.T + attn.in_proj_bias
        each = torch.zeros(n_heads, n, n, d, dtype=x.dtype)
        for h in range(n_heads):
            q, k, v = (qkv[:, p * width + h * d : p * width + (h + 1) * d] for p in range(3))
            if custom:
                q, k = attn.ln_q(q), attn.ln_k(k)
            alpha = (q @ k.T / d**0.5 + mask).softmax(-1)
            for j in range(n):
                each[h, :, j] = alpha[:, j, None] * v[j]
            if custom and attn.head_scale is not None:
                each[h] *= attn.head_scale[h]
        merged = each.sum(2).transpose(0, 1).flatten(1)
        inner = getattr(attn, "ln_inner", torch.nn.Identity())
        outer = getattr(block, "ln_attn", torch.nn.Identity())
        through = inner(merged) @ attn.out_proj.weight.T + attn.out_proj.bias

        update = outer(through) * gain
        for h in range(n_heads):
            for j in range(n):
                o = torch.zeros(width, dtype=x.dtype)
                o[h * d : (h + 1) * d] = each[h, read, j]
                terms["token", layer, h, j] = (
                    _written(o, attn, inner, outer, merged[read], through[read]) * gain
                )
            terms["head", layer, h] = sum(terms["token", layer, h, j] for j in range(n))
        heads = sum(terms["head", layer, h] for h in range(n_heads))
        terms["bias", layer] = update[read] - heads
        x = x + update
        mlp = block.mlp(block.ln_2(x)) * getattr(block.ls_2, "gamma", 1.0)
        terms["mlp", layer] = mlp[read]
        x = x + mlp
    ln = parts.ln_final
    sigma = (x[read].var(correction=0) + ln.eps).sqrt()
    projection = parts.text_projection
    weight, bias = torch.eye(len(x[0]), dtype=x.dtype), torch.zeros(1, dtype=x.dtype)
    if isinstance(projection, torch.nn.Linear):
        weight, bias = projection.weight.T, projection.bias
    elif projection is not None:
        weight = projection
    found = {key: ((t - t.mean()) / sigma * ln.weight) @ weight for key, t in terms.items()}
    return {**found, "const": ln.bias @ weight + bias}


def _written(
    o: torch.Tensor, attn: Any, inner: Any, outer: Any, merged: torch.Tensor, through: torch.Tensor
) -> torch.Tensor:
    """What a part of o adds, the norms' scales as they are."""
    for norm, whole, after in ((inner, merged, attn.out_proj.weight.T), (outer, through, None)):
        if isinstance(norm, torch.nn.LayerNorm):
            sigma = (whole.var(correction=0) + norm.eps).sqrt()
            o = (o - o.mean()) / sigma * norm.weight
        o = o if after is None else o @ after
    return o
