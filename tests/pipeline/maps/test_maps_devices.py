"""Every method on another device and in half precision: the same maps, nothing left on the CPU."""

import copy
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from demo.model import CONFIG
from pipeline.maps.methods.bimodal import bimodal_words
from pipeline.maps.methods.eclip import Projections, eclip
from pipeline.maps.methods.grad_eclip import grad_eclip_words
from pipeline.maps.registry import METHODS
from pipeline.towers.models import LoadedModel, load_model
from tests.maps_literal import random_texts
from tests.towers import pixels, small_clip

WEIGHTS = Path(CONFIG).with_suffix(".safetensors")
# Share of a map's variation that rounding may change.
LIMIT = {torch.bfloat16: 0.15, torch.float16: 0.02}
LABELS = ("a photo of a bird", "a photo of an octopus", "four ice creams", "a city", "a red car")

RUNS = {name: method.run for name, method in METHODS.items()}
RUNS["eclip"] = partial(
    eclip.run,
    checkpoint=Projections(torch.eye(20), torch.eye(20).flip(0), torch.ones(20), torch.zeros(20)),
)
every = pytest.mark.parametrize("name", RUNS)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@every
def test_no_method_makes_a_tensor_on_another_device_than_the_models(name: str) -> None:
    # the meta device computes shapes alone, and refuses a tensor of any other device
    clip = small_clip(ls_init_value=0.3)
    images, texts, labels = pixels(clip), random_texts(20, 3, 2), random_texts(20, 5)
    found = RUNS[name](
        clip.visual.to("meta"), images.to("meta"), texts.to("meta"), labels.to("meta")
    )
    assert (found.values.device.type, found.values.shape) == ("meta", (3, 2, 3, 3))


@pytest.mark.gpu
@needs_gpu
@every
def test_maps_of_a_gpu_are_those_of_the_cpu(name: str) -> None:
    clip = small_clip(ls_init_value=0.3)
    images, texts, labels = pixels(clip), random_texts(20, 3), random_texts(20, 5)
    here = RUNS[name](clip.visual, images, texts, labels)
    there = RUNS[name](
        copy.deepcopy(clip.visual).cuda(), *(x.cuda() for x in (images, texts, labels))
    )
    assert there.values.is_cuda and there.embedding.is_cuda
    scale = float(here.values.abs().max())
    torch.testing.assert_close(there.values.cpu(), here.values, rtol=1e-6, atol=1e-8 * scale)
    torch.testing.assert_close(there.embedding.cpu(), here.embedding, rtol=0, atol=1e-10)


@pytest.fixture(scope="module", params=["bf16", "fp16"])
def half(request: pytest.FixtureRequest) -> LoadedModel:
    """Return the shipped model in half precision, on a GPU where there is one."""
    return load_model(str(CONFIG), str(WEIGHTS), request.param)


def scene(half: LoadedModel) -> tuple[Tensor, Tensor]:
    """Return smooth pictures and the labels' texts."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.randn(2, 3, 8, 8, generator=generator)
    images = torch.nn.functional.interpolate(coarse, size=64, mode="bicubic")
    return images.to(half.device, half.dtype), half.encode_text(list(LABELS)).to(half.device)


@pytest.mark.parametrize("name", METHODS)
def test_half_precision_gives_the_maps_of_the_same_weights_in_single(
    half: LoadedModel, name: str
) -> None:
    images, texts = scene(half)
    # texts may be in single precision, or in the model's own
    given = texts.to(half.dtype) if half.dtype == torch.float16 else texts
    found = METHODS[name].run(half.visual, images, given[:3], given)
    single = copy.deepcopy(half.visual).float()
    expected = METHODS[name].run(single, images.float(), texts[:3], texts)
    assert found.values.dtype == found.embedding.dtype == torch.float32
    torch.testing.assert_close(found.embedding, expected.embedding, rtol=0, atol=0.02)
    assert distance(found.values, expected.values) < LIMIT[half.dtype]


def test_maps_of_words_in_half_precision(half: LoadedModel) -> None:
    images, _ = scene(half)
    embedding = torch.nn.functional.normalize(half.visual(images).float(), dim=-1)
    tokens = half.tokenizer(list(LABELS)).to(half.device)
    single = copy.deepcopy(half.clip).float()
    for method in (bimodal_words, grad_eclip_words):
        found = method(half.clip, tokens, embedding).values
        expected = method(single, tokens, embedding).values
        assert distance(found, expected) < LIMIT[half.dtype]


def distance(a: Tensor, b: Tensor) -> float:
    """Return how far maps are from others, as a share of how much those vary; NaN if they are."""
    return float((a - b).norm() / (b - b.mean(dim=(-2, -1), keepdim=True)).norm())
