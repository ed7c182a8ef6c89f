"""Maps of words against literal loops with finite differences, and against encode_text."""

import pytest
import torch

from pipeline.maps.methods.bimodal import bimodal_words
from pipeline.maps.methods.grad_eclip import grad_eclip_words
from schemas.errors import UnsupportedModel
from tests.maps_literal import attend_out, random_texts
from tests.pipeline.maps.test_maps_gradient import slope
from tests.towers import small_clip

TOKENS = torch.tensor([[1, 5, 9, 3, 63, 0, 0, 0], [1, 7, 63, 0, 0, 0, 0, 0]])


def start(clip, row: torch.Tensor) -> torch.Tensor:
    return (clip.token_embedding(row) + clip.positional_embedding)[None]


def parts(block, x: torch.Tensor) -> tuple:
    qkv = block.ln_1(x) @ block.attn.in_proj_weight.T + block.attn.in_proj_bias
    q, k, v = qkv.unflatten(-1, (3, block.attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
    scores = q @ k.mT / q.shape[-1] ** 0.5
    n = x.shape[1]
    for i in range(n):
        scores[..., i, i + 1 :] = -torch.inf
    return q, k, v, scores.softmax(-1)


def finish(block, x: torch.Tensor, o: torch.Tensor) -> torch.Tensor:
    x = x + attend_out(block, o)
    return x + block.mlp(block.ln_2(x))


def cosine(clip, x: torch.Tensor, end: int, image: torch.Tensor) -> torch.Tensor:
    e = clip.ln_final(x)[:, end] @ clip.text_projection
    return e @ image / e.norm(dim=-1)


@pytest.fixture
def clip():
    return small_clip()


@pytest.mark.parametrize("score", ["logit", "cosine"])
def test_bimodal_words(clip, score: str) -> None:
    images = random_texts(20, 2)
    found = bimodal_words(clip, TOKENS, images, score=score)
    scale = float(clip.logit_scale.exp()) if score == "logit" else 1.0
    torch.testing.assert_close(found.embedding, clip.encode_text(TOKENS, normalize=True))
    (block,) = clip.transformer.resblocks
    for b in range(2):
        for t, end in enumerate((4, 2)):
            x = start(clip, TOKENS[t])
            _, _, v, a = parts(block, x)

            def score(a: torch.Tensor, x=x, v=v, end=end, b=b) -> torch.Tensor:
                return scale * cosine(clip, finish(block, x, a @ v), end, images[b])

            r = torch.eye(8).double() + (slope(score, a)[0] * a[0]).clamp(min=0).mean(0)
            expected = torch.zeros(8).double()
            expected[1:end] = r[end, 1:end]
            torch.testing.assert_close(found.values[b, t], expected, rtol=1e-4, atol=1e-8)


def test_grad_eclip_words(clip) -> None:
    images = random_texts(20, 2)
    found = grad_eclip_words(clip, TOKENS, images)
    torch.testing.assert_close(found.embedding, clip.encode_text(TOKENS, normalize=True))
    (block,) = clip.transformer.resblocks
    for b in range(2):
        for t, end in enumerate((4, 2)):
            x = start(clip, TOKENS[t])
            q, k, v, a = parts(block, x)

            def score(o: torch.Tensor, x=x, end=end, b=b) -> torch.Tensor:
                return cosine(clip, finish(block, x, o), end, images[b])

            g = slope(score, a @ v)[0, :, end].flatten()
            query = q[0, :, end].flatten()
            # all positions, not the prompt's own words alone
            keys = [k[0, :, i].flatten() for i in range(8)]
            near = [float(query @ key / (query.norm() * key.norm())) for key in keys]
            span = max(near) - min(near)
            expected = torch.zeros(8).double()
            for i in range(1, end):
                loose = (near[i] - min(near)) / span
                expected[i] = max(0.0, float(g @ v[0, :, i].flatten()) * loose)
            torch.testing.assert_close(found.values[b, t], expected, rtol=1e-4, atol=1e-8)


def test_prompts_and_pictures_do_not_matter_to_each_other(clip) -> None:
    images = random_texts(20, 3)
    for method in (bimodal_words, grad_eclip_words):
        together = method(clip, TOKENS, images).values
        alone = method(clip, TOKENS[1:], images[2:]).values
        torch.testing.assert_close(together[2:, 1:], alone, rtol=1e-10, atol=1e-14)


def test_another_text_encoder_is_refused(clip) -> None:
    clip.text_pool_type = "last"
    with pytest.raises(UnsupportedModel, match="no plain CLIP transformer"):
        bimodal_words(clip, TOKENS, random_texts(20, 1))
