"""`headatlas spurious` by attention on text, and judged by running the model."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from jobs.commands import spurious
from jobs.commands.spurious import SpuriousConfig, SpuriousResult
from pipeline.heads.ablation import choose_under_budget
from pipeline.heads.attention_share import attention_shares
from pipeline.towers.models import load_model
from schemas.errors import UsageError
from tests.jobs.test_effects_job import made
from tests.jobs.test_total_ablation import coloured

__all__ = ["coloured", "made"]


@pytest.fixture
def warehouse(coloured: Path, tmp_path: Path) -> Path:
    shutil.copytree(coloured, tmp_path / "w")
    return tmp_path / "w"


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Pictures with masks of text; one has none."""
    root, rng = tmp_path / "texts", np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for i in range(5):
        noise = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / f"images/{i}.png")
        mask = np.zeros((32, 32), np.uint8)
        mask[4 * i : 4 * i + 8, 2:26] = 255 if i else 0
        Image.fromarray(mask).save(root / f"masks/{i}.png")
    return root


def found(warehouse: Path, **options: object) -> SpuriousResult:
    values = {"warehouse": warehouse, "classifier": "hues", "target": "colour", "control": 2}
    split = {"attribute": "texture", "select": "count=one", "test": "count=two"}
    return spurious.run(SpuriousConfig.checked({**values, **split, "workers": 0, **options}))


def test_heads_that_look_at_text_are_first_and_judged_at_the_class_token(
    warehouse: Path, texts: Path, tiny_config: Path
) -> None:
    asked = {"search": "attention-share", "text_data": texts, "tolerance": 1.0, "most": 2}
    done = found(warehouse, total=True, **asked)
    loaded = load_model(str(tiny_config), "none")
    numbers = range(1, 5)
    pictures = [Image.open(texts / f"images/{i}.png").convert("RGB") for i in numbers]
    pixels = torch.stack([loaded.transform(picture) for picture in pictures])
    cover = torch.zeros(4, 4, 4)
    for at, i in enumerate(numbers):
        mask = torch.zeros(32, 32)
        mask[4 * i : 4 * i + 8, 2:26] = 1
        cover[at] = mask.reshape(4, 8, 4, 8).mean(dim=(1, 3))
    shares = attention_shares(loaded.tower, pixels, cover).mean(dim=0)
    expected = {f"L{n}H{h}": float(shares[n, h]) for n in range(3) for h in range(3)}
    assert [h.name for h in done.heads] == sorted(expected, key=lambda name: -expected[name])
    for head in done.heads:
        assert head.score == pytest.approx(expected[head.name], abs=1e-5)
    (outcome,) = done.outcomes
    above = [h.name for h in done.heads if h.score > float(cover.mean())][:2]
    assert list(outcome.heads) == above and above
    # with the whole accuracy as budget every candidate is taken; the run is at the class token
    total = done.total["greedy"]
    assert total.at == "class" and set(total.replaced["heads"]) == set(above)
    assert {row.of for row in total.rows} == {"group", "all", "worst"}
    (everything,) = (row for row in total.rows if row.of == "all")
    assert everything.n == outcome.total.n
    assert everything.direct == pytest.approx(outcome.total.after, abs=1e-9)


def test_a_search_takes_the_data_that_it_needs_and_no_other(warehouse: Path, texts: Path) -> None:
    for options in ({"search": "attention-share"}, {"text_data": texts}):
        with pytest.raises(UsageError, match="attention-share needs --text-data"):
            found(warehouse, **options)


def test_the_budget_is_kept_and_what_breaks_it_is_passed_over() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 200)
    logits = np.eye(2)[truth] + rng.normal(size=(200, 2)) * 0.3
    harmful, harmless = np.eye(2)[truth] * 2, np.zeros((200, 2))
    effects = np.stack([harmful, harmless, harmless + 0.5]).astype(np.float32)
    groups = np.zeros(200, np.int64)
    choice = choose_under_budget(
        logits, effects, truth, groups, candidates=[0, 1, 2], most=2, tolerance=0.01
    )
    assert choice.heads == (1, 2) and min(choice.mean) >= choice.mean[0] - 0.01
    one = choose_under_budget(logits, effects, truth, groups, candidates=[1, 2], most=1)
    assert one.heads == (1,)
