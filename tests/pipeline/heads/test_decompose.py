"""Invariants 1 and 2 of the design: the parts sum to the embedding; Q·vector is the literal sum."""

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.transformer import VisionTransformer

from pipeline.heads.decompose import TOLERANCE, Decomposer
from pipeline.heads.frames import head_frames
from pipeline.heads.stored_frames import load_frames
from pipeline.towers.forward import forward_parts
from pipeline.towers.models import check_supported, load_model
from pipeline.towers.registry import tower_of
from pipeline.towers.tower import Tower
from schemas.errors import CorruptStore, DecompositionError, UnsupportedModel, UsageError
from tests.towers import SUPPORTED, pixels, small_clip


def decomposer_of(tower: Tower, layers: tuple[int, ...]) -> Decomposer:
    return Decomposer(tower, head_frames(tower, layers))


def literal(visual: VisionTransformer, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Compute every term of the sum token by token and head by head, by loops, from the weights."""
    x = visual._embeds(images)
    pooled_tokens = range(1, x.shape[1]) if visual.pool_type == "avg" else [0]

    def pool(t: torch.Tensor) -> torch.Tensor:
        return sum(t[:, i] for i in pooled_tokens) / len(pooled_tokens)

    terms = {"init": pool(x)}
    for index, block in enumerate(visual.transformer.resblocks):
        attn = block.attn
        width, n_heads = attn.embed_dim, attn.num_heads
        d = width // n_heads
        gain = getattr(block.ls_1, "gamma", torch.ones(width, dtype=x.dtype))
        y = block.ln_1(x)
        qkv = y @ attn.in_proj_weight.T + attn.in_proj_bias
        added = (attn.out_proj.bias * gain).expand_as(x).clone()
        terms[f"bias {index}"] = pool(added)
        for h in range(n_heads):
            q, k, v = (
                qkv[..., part * width + h * d : part * width + (h + 1) * d] for part in range(3)
            )
            alpha = (q @ k.mT / d**0.5).softmax(-1)
            out = torch.zeros_like(x)
            for i in range(x.shape[1]):
                column = attn.out_proj.weight[:, h * d : (h + 1) * d]
                out += alpha[:, :, i : i + 1] * (v[:, i : i + 1] @ column.T) * gain
            terms[f"head {index} {h}"] = pool(out)
            added = added + out
        x = x + added
        mlp = block.mlp(block.ln_2(x)) * getattr(block.ls_2, "gamma", 1.0)
        terms[f"mlp {index}"] = pool(mlp)
        x = x + mlp
    z = pool(x)
    ln = visual.ln_post
    sigma = (z.var(-1, correction=0) + ln.eps).sqrt()[:, None]
    gamma = 1.0 if ln.weight is None else ln.weight
    embedded = {
        name: ((t - t.mean(-1, keepdim=True)) / sigma * gamma) @ visual.proj
        for name, t in terms.items()
    }
    beta = torch.zeros(z.shape[1], dtype=z.dtype) if ln.bias is None else ln.bias
    embedded["const"] = (beta @ visual.proj).expand(len(images), -1)
    return embedded


@pytest.mark.parametrize("options", SUPPORTED.values(), ids=SUPPORTED.keys())
@pytest.mark.parametrize("quick_gelu", [False, True])
def test_q_vector_equals_the_literal_sum_of_each_head(
    options: dict[str, object], quick_gelu: bool
) -> None:
    clip = small_clip(quick_gelu=quick_gelu, **options)
    images = pixels(clip)
    terms = literal(clip.visual, images)
    own = clip.encode_image(images)
    norm = own.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(sum(terms.values()), own, atol=1e-10, rtol=0)

    tower = tower_of(clip.visual)
    frames = head_frames(tower, (0, 1, 2))
    found = Decomposer(tower, frames)(images)
    for layer in range(3):
        for head in range(3):
            c = found.vectors[layer][:, head] @ torch.from_numpy(frames.q[layer, head]).T
            torch.testing.assert_close(c, terms[f"head {layer} {head}"] / norm, atol=1e-12, rtol=0)
        torch.testing.assert_close(
            found.mlp[:, layer], terms[f"mlp {layer}"] / norm, atol=1e-12, rtol=0
        )
    torch.testing.assert_close(found.init, terms["init"] / norm, atol=1e-12, rtol=0)
    torch.testing.assert_close(found.embedding, own / norm, atol=1e-12, rtol=0)
    torch.testing.assert_close(found.norm, norm[:, 0], atol=1e-12, rtol=0)


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    layers=st.sampled_from([(0, 1, 2), (2,), (1, 2), (0,)]),
    name=st.sampled_from(sorted(SUPPORTED)),
)
def test_parts_sum_to_encode_image_whatever_layers_are_stored(
    seed: int, layers: tuple[int, ...], name: str
) -> None:
    clip = small_clip(seed=seed, **SUPPORTED[name])
    decomposer = decomposer_of(tower_of(clip.visual), layers)
    assert decomposer.check(pixels(clip, seed=seed)) < 1e-10


def test_frames_are_orthonormal_and_factor_the_head_transform() -> None:
    clip = small_clip(ls_init_value=0.3)
    frames = head_frames(tower_of(clip.visual), (0, 2))
    eye = np.eye(8)
    for q, r in zip(frames.q.reshape(-1, 20, 8), frames.r.reshape(-1, 8, 8), strict=True):
        np.testing.assert_allclose(q.T @ q, eye, atol=1e-12)
        assert (np.diag(r) >= 0).all()
        np.testing.assert_allclose(np.tril(r, -1), 0, atol=1e-14)


def test_frames_survive_a_file_and_their_digest_is_checked(tmp_path: object) -> None:
    frames = head_frames(tower_of(small_clip().visual), (1,))
    path = tmp_path / "frames.safetensors"
    path.write_bytes(frames.to_bytes())
    np.testing.assert_array_equal(load_frames(path, frames.digest()).q, frames.q)
    with pytest.raises(CorruptStore, match="digest"):
        load_frames(path, "0" * 64)
    with pytest.raises(CorruptStore, match="missing"):
        load_frames(tmp_path / "none", frames.digest())


def test_a_wrong_constant_is_noticed_and_refused() -> None:
    clip = small_clip()
    decomposer = decomposer_of(tower_of(clip.visual), (0, 1, 2))
    decomposer.bias = decomposer.bias * 1.001
    with pytest.raises(DecompositionError, match="nothing was written"):
        decomposer.check(pixels(clip))


def test_the_pass_leaves_the_model_as_it_was() -> None:
    clip = small_clip(ls_init_value=0.3)
    images = pixels(clip)
    before = clip.encode_image(images)
    forward_parts(tower_of(clip.visual), images)
    torch.testing.assert_close(clip.encode_image(images), before, atol=0, rtol=0)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_real_architecture_with_random_weights_sums_within_tolerance(precision: str) -> None:
    loaded = load_model("ViT-S-32-alt", "none", precision)
    decomposer = decomposer_of(loaded.tower, (10, 11))
    images = torch.randn(2, 3, *loaded.record.preprocessing.image_size, dtype=loaded.dtype)
    assert decomposer.check(images) < TOLERANCE[loaded.dtype]


@pytest.mark.parametrize(
    ("vision", "words"),
    [
        ({"attentional_pool": "parallel", "attn_pooler_heads": 4}, "attentional pool 'parallel'"),
        ({"pool_type": "none"}, "'none'"),
        ({"scaled_cosine_attn": True}, "scaled cosine attention in layer 0 cannot run"),
    ],
)
def test_what_has_no_exact_decomposition_is_refused_by_name(
    vision: dict[str, object], words: str
) -> None:
    with pytest.raises(UnsupportedModel, match=words) as caught:
        tower_of(small_clip(**vision).visual, "mine")
    assert str(caught.value).startswith("mine: ")


def test_a_narrow_joint_space_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="joint width 4 below head width 8"):
        check_supported(tower_of(small_clip(d_joint=4).visual), "mine")


@pytest.mark.parametrize(
    ("model", "pretrained", "words"),
    [
        ("ViT-B-99", "none", "no model 'ViT-B-99'"),
        ("nowhere.json", "none", "no model config"),
        ("ViT-B-32", "no-such-tag", "neither a file nor a tag"),
    ],
)
def test_a_wrong_model_gives_one_clear_line(model: str, pretrained: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        load_model(model, pretrained)
    assert "\n" not in str(caught.value)


def test_random_weights_are_the_same_every_time() -> None:
    assert "ViT-S-32-alt" in open_clip.list_models()
    first, second = (load_model("ViT-S-32-alt", "none").record for _ in range(2))
    assert first == second
