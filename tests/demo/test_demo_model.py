"""The small CLIP: how it is trained, and the checkpoint that ships."""

import json
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.optim import Muon

from demo import world
from demo.checkpoint import resume, store
from demo.findings import HeadFactors, ablated, encode, explained, score, without_mlps
from demo.loss import contrastive, positives
from demo.model import CONFIG, WEIGHTS, build, image_features, normalise, text_features
from demo.optim import Muon32, orthogonalised, schedule
from demo.plan import Plan
from demo.repair import repair
from demo.train import Places, main, new_run, train, vocabulary, weights_of
from demo.words import collect
from demo.zeroshot import classifier
from pipeline.towers.models import load_model
from schemas.errors import UsageError
from tests import warm

CPU = torch.device("cpu")
TINY = Plan(
    pictures=40, birds=16, batch=8, birds_per_batch=2, captions_per_picture=2, steps=20, warmup=4
)


@pytest.fixture(scope="module")
def tiny_config(tmp_path_factory):
    settings = json.loads(CONFIG.read_text())
    settings["vision_cfg"] |= {"layers": 2, "width": 32, "head_width": 16}
    settings["text_cfg"] |= {"layers": 1, "width": 32, "heads": 2}
    path = tmp_path_factory.mktemp("config") / "tiny.json"
    path.write_text(json.dumps(settings | {"embed_dim": 16}))
    return path


@pytest.fixture(scope="module")
def shipped():
    open_clip.add_model_config(str(CONFIG))
    return open_clip.create_model_and_transforms("small_clip", pretrained=str(WEIGHTS))


codes = st.integers(0, 2)


@given(
    st.lists(st.tuples(codes, codes, codes), min_size=1, max_size=6),
    st.lists(
        st.tuples(st.tuples(codes, codes, codes), st.tuples(*[st.booleans()] * 3)),
        min_size=1,
        max_size=6,
    ),
)
def test_positives_equal_a_literal_double_loop(pictures, captions):
    got = positives(
        torch.tensor(pictures),
        torch.tensor([values for values, _ in captions]),
        torch.tensor([said for _, said in captions]),
    )
    for (i, picture), (j, (values, said)) in product(enumerate(pictures), enumerate(captions)):
        assert got[i, j] == all(
            a == b for a, b, stated in zip(picture, values, said, strict=True) if stated
        )


def test_the_loss_is_clips_where_each_picture_has_one_caption():
    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    target = torch.arange(5)
    clip = torch.nn.functional.cross_entropy
    expected = (clip(logits, target) + clip(logits.T, target)) / 2
    got = contrastive(logits, torch.eye(5, dtype=torch.bool), torch.ones(5, 5, dtype=torch.bool))
    torch.testing.assert_close(got, expected)


def test_pairs_that_nobody_can_judge_take_no_part():
    logits = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    positive = torch.zeros(4, 6, dtype=torch.bool)
    positive[[0, 1, 2, 3, 0, 2], torch.arange(6)] = True
    counted = torch.ones(4, 6, dtype=torch.bool)
    counted[1, 5] = False
    changed = logits.clone()
    changed[1, 5] = 50.0
    a, b = contrastive(logits, positive, counted), contrastive(changed, positive, counted)
    torch.testing.assert_close(a, b)
    assert torch.isfinite(a)


def test_the_fast_forward_equals_open_clips(tiny_config):
    torch.manual_seed(0)
    model = build(tiny_config, vocab_size=50).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    images = torch.randn(3, 3, 64, 64, dtype=torch.float64)
    tokens = torch.tensor([[48, 3, 5, 49, 0, 0, 0], [48, 9, 4, 2, 7, 49, 0]])
    tokens = torch.nn.functional.pad(tokens, (0, model.context_length - tokens.shape[1]))
    with torch.no_grad():
        torch.testing.assert_close(image_features(model, images), model.encode_image(images))
        torch.testing.assert_close(text_features(model, tokens), model.encode_text(tokens))


def test_direct_path_dropout_is_nothing_or_the_literal_subtraction(tiny_config):
    torch.manual_seed(0)
    model = build(tiny_config, vocab_size=50).double().eval()
    images = torch.randn(4, 3, 64, 64, dtype=torch.float64)
    visual = model.visual
    with torch.no_grad():
        x, written = visual._embeds(images), 0
        for block in visual.transformer.resblocks:
            normed = block.ln_1(x)
            x = x + block.attn(normed, normed, normed, need_weights=False)[0]
            mlp = block.mlp(block.ln_2(x))
            x, written = x + mlp, written + mlp[:, 0]
        without = visual.ln_post(x[:, 0] - written) @ visual.proj
        plain = model.encode_image(images)
        none = torch.zeros(4, dtype=torch.bool)
        some = torch.tensor([True, False, True, False])
        torch.testing.assert_close(image_features(model, images, none), plain)
        torch.testing.assert_close(image_features(model, images, ~none), without)
        mixed = torch.where(some[:, None], without, plain)
        torch.testing.assert_close(image_features(model, images, some), mixed)


def test_normalise_is_open_clips_transform(shipped):
    _, _, transform = shipped
    image = world.scene("test", 0).image
    expected = transform(Image.fromarray(image))
    torch.testing.assert_close(normalise(torch.from_numpy(image[None]))[0], expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_compact_tokens_are_open_clips_and_expand_back(index):
    words = vocabulary(CONFIG)
    tokenizer = open_clip.get_tokenizer("ViT-B-32", context_length=words.context_length)
    text = world.caption(
        world.scene("train", index % 50).factors, np.random.default_rng(index), split="train"
    ).text
    compact = words.encode([text])
    assert torch.equal(torch.from_numpy(words.ids)[compact], tokenizer([text]))
    assert int(compact.argmax()) == int(tokenizer([text]).argmax())


def test_expanding_keeps_trained_rows_and_fills_the_rest_with_their_mean():
    words = collect(["a red duck"], 8)
    weight = torch.randn(len(words.ids), 3, generator=torch.Generator().manual_seed(0))
    full = words.expand(weight, 49408)
    assert torch.equal(full[torch.from_numpy(words.ids)], weight)
    torch.testing.assert_close(full[7], weight.mean(0))


def test_muon_in_float32_takes_the_steps_of_torch_s():
    torch.manual_seed(0)
    starts = [torch.randn(shape) for shape in ((24, 64), (64, 24), (32, 32))]
    moved = []
    for kind in (Muon, Muon32):
        matrices = [torch.nn.Parameter(start.clone()) for start in starts]
        optimizer = kind(matrices, lr=0.01, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
        for step in range(4):
            for i, matrix in enumerate(matrices):
                drawn = torch.Generator().manual_seed(10 * step + i)
                matrix.grad = torch.randn(matrix.shape, generator=drawn)
            optimizer.step()
        moved.append([m.detach() - start for m, start in zip(matrices, starts, strict=True)])
        assert all("momentum_buffer" in state for state in optimizer.state.values())
    for theirs, ours in zip(*moved, strict=True):
        # theirs is in bfloat16: eight bits
        assert (theirs - ours).norm() <= 0.02 * theirs.norm()


def test_what_is_orthogonalised_keeps_its_singular_vectors():
    matrix = torch.randn(20, 50, generator=torch.Generator().manual_seed(0)).double()
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    inner = u.T @ orthogonalised(matrix, (3.4445, -4.7750, 2.0315), 5) @ v.T
    assert (inner - inner.diagonal().diag()).abs().max() <= 1e-12
    assert 0.6 <= inner.diagonal().min() and inner.diagonal().max() <= 1.3


def test_the_learning_rate_warms_up_and_ends_near_nothing():
    rates = [schedule(s, steps=100, warmup=10) for s in range(100)]
    assert rates[9] == max(rates) == 1.0
    assert rates[0] == 0.1 and rates[99] < 1e-3
    assert rates[10:] == sorted(rates[10:], reverse=True)


def _quiet(*_):
    pass


_SCRIPT = """
import sys, time, torch
from pathlib import Path
import demo.train as T
from tests.demo.test_demo_model import TINY, CPU
torch.set_num_threads(1)
T.REPORT_EVERY, T.SAVE_EVERY, T.VALIDATION = 1, 3, 4
def slow(stage, done, total, facts):
    print(stage, done, flush=True)
    if stage == "train":
        time.sleep(0.1)
T.train(TINY, T.Places(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[2]) / "out.safetensors"),
        device=CPU, processes=1, report=slow)
"""


def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(
    tiny_config, tmp_path, monkeypatch
):
    monkeypatch.setattr("demo.train.SAVE_EVERY", 3)
    monkeypatch.setattr("demo.train.VALIDATION", 4)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole = Places(tiny_config, tmp_path / "whole", tmp_path / "whole.safetensors")
        killed = Places(tiny_config, tmp_path / "killed", tmp_path / "killed.safetensors")
        train(TINY, whole, device=CPU, processes=1, report=_quiet)
        child = warm.Program(
            [sys.executable, "-c", _SCRIPT, str(tiny_config), str(killed.work)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        for line in child.stdout:
            if line.split()[0] == "train" and int(line.split()[1]) >= 6:
                break
        child.kill()
        child.wait()
        child.stdout.close()
        started = torch.load(killed.saved, weights_only=True)["step"]
        assert 0 < started < TINY.steps
        train(TINY, killed, device=CPU, processes=1, report=_quiet)
    finally:
        torch.set_num_threads(threads)
    a, b = (torch.load(p.saved, weights_only=True)["model"] for p in (whole, killed))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_on_larger_pictures_exports_weights_and_config_that_load(
    tiny_config, tmp_path, monkeypatch
):
    monkeypatch.setattr("demo.train.VALIDATION", 4)
    plan = replace(TINY, image_size=96, steps=2)
    places = Places(tiny_config, tmp_path / "work", tmp_path / "large.safetensors")
    run = train(plan, places, device=CPU, processes=1, report=_quiet)
    model = load_model(str(places.described), str(places.out))
    assert model.record.preprocessing.image_size == (96, 96)
    trained = run.model.visual.positional_embedding.detach()
    assert trained.shape[0] == 1 + (96 // 8) ** 2
    torch.testing.assert_close(model.visual.positional_embedding, trained.half().float())


def test_another_seed_is_another_model_that_leaves_the_first_alone(
    tiny_config, tmp_path, monkeypatch
):
    asked = []
    monkeypatch.setattr(
        "demo.train.train", lambda plan, places, **rest: asked.append((plan, places))
    )
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    for seed in (0, 1):
        main(work=tmp_path, config=tiny_config, steps=2, seed=seed)
    (first, here), (second, there) = asked
    assert replace(second, seed=0) == first and second.seed == 1
    assert (here.saved, there.saved) == (tmp_path / "run.pt", tmp_path / "run-1.pt")
    assert here.out == weights_of(0) != there.out == Path("data/small_clip-1.safetensors")
    words = vocabulary(tiny_config)
    one, other = (new_run(plan, words, tiny_config, CPU).model for plan in (first, second))
    assert not torch.equal(one.visual.conv1.weight, other.visual.conv1.weight)
    root = Path(__file__).parents[2]
    said = subprocess.run(
        ["make", "-n", "demo-model", "SEED=1"], cwd=root, capture_output=True, text=True, check=True
    )
    assert "python -m demo.train --seed 1" in said.stdout


def test_a_save_of_another_plan_is_refused(tiny_config, tmp_path):
    words = vocabulary(tiny_config)
    store(new_run(TINY, words, tiny_config, CPU), tmp_path / "run.pt")
    other = new_run(replace(TINY, peak=2e-3), words, tiny_config, CPU)
    with pytest.raises(UsageError, match="another peak"):
        resume(other, tmp_path / "run.pt")


def test_the_shipped_checkpoint_is_small_and_open_clips_own(shipped):
    assert WEIGHTS.stat().st_size <= 20_000_000
    model, _, _ = shipped
    assert type(model) is open_clip.model.CLIP


def test_explained_is_the_variance_between_values_over_the_total():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 2, 3, 4))
    codes = rng.integers(-1, 4, 30)
    got = explained(vectors, codes)
    for layer, head in np.ndindex(2, 3):
        seen = vectors[codes >= 0, layer, head]
        own = codes[codes >= 0]
        means = np.stack([seen[own == code].mean(0) for code in own])
        total = np.square(seen - seen.mean(0)).sum()
        between = np.square(means - seen.mean(0)).sum()
        np.testing.assert_allclose(got[layer, head], between / total)


@pytest.fixture(scope="module")
def loaded():
    return load_model(str(CONFIG), str(WEIGHTS))


@pytest.fixture(scope="module")
def classifiers(loaded):
    return {factor: classifier(factor, loaded.encode_text) for factor in world.FACTORS}


@pytest.fixture(scope="module")
def test_split(loaded):
    pictures = world.batch("test", 0, 500)
    return encode(loaded, pictures.images), pictures.factors


PLAIN = [factor for factor in world.FACTORS if factor != "bird"]
BARS = {
    "colour": 0.95,
    "background": 0.95,
    "texture": 0.95,
    "tone": 0.95,
    "kind": 0.93,
    "count": 0.88,
}


@pytest.mark.parametrize("factor", BARS)
def test_zero_shot_accuracy_reaches_its_bar(test_split, classifiers, factor):
    encoded, factors = test_split
    bar = BARS[factor]
    margin = 2.5 * (bar * (1 - bar) / 500) ** 0.5
    accuracy = score(encoded.embedding, factors, {factor: classifiers[factor]})[factor]
    assert accuracy >= bar - margin


def test_the_embedding_does_not_need_the_mlps_direct_path(test_split, classifiers):
    encoded, factors = test_split
    plain = {factor: classifiers[factor] for factor in PLAIN}
    before = score(encoded.embedding, factors, plain)
    after = score(without_mlps(encoded), factors, plain)
    assert np.mean([before[factor] - after[factor] for factor in PLAIN]) <= 0.1


def test_four_factors_have_a_head_of_their_own(test_split):
    encoded, factors = test_split
    r2 = {factor: explained(encoded.heads, factors[factor]) for factor in PLAIN}
    own = {factor for factor, _, _ in HeadFactors(r2, {}).dedicated(world.INDEPENDENT)}
    assert len(own) >= 4


def test_ablating_all_heads_and_mlps_leaves_what_hardly_varies(test_split):
    encoded, _ = test_split
    every = np.ones(encoded.heads.shape[1:3], dtype=bool)
    rest = ablated(encoded, every) - encoded.embedding + without_mlps(encoded)
    assert (
        np.square(rest - rest.mean(0)).sum()
        < 0.05 * np.square(encoded.embedding - encoded.embedding.mean(0)).sum()
    )


def test_the_bias_of_the_birds_costs_and_can_be_repaired(loaded, classifiers):
    def measured(split):
        pictures = world.batch(split, 0, 500)
        return encode(loaded, pictures.images), pictures.factors

    found = repair(measured("birds_select"), measured("birds_test"), classifiers["bird"], draws=1)
    assert found.before.mean - found.before.worst >= 0.15
    regained = (found.after.worst - found.before.worst) / (found.before.mean - found.before.worst)
    assert regained >= 0.5
    assert found.after.mean >= found.before.mean - 0.01
