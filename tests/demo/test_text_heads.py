"""What the shipped CLIP's text heads carry, of its own grammar: the truth is known."""

import json

import pytest

from jobs.commands.demo import GRIDS, MODEL, WEIGHTS
from pipeline.heads.decompose import Decomposer
from pipeline.heads.factors import factor_shares
from pipeline.heads.frames import head_frames
from pipeline.texts.grids import parse_grid
from pipeline.towers.models import load_model

Shares = dict[str, dict[tuple[str, ...], float]]


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[Shares, dict[str, float]]]:
    """Return for each grid of the demo the shares of each head, and how much each varies."""
    loaded = load_model(str(MODEL), str(WEIGHTS))
    tower = loaded.text_tower
    decomposer = Decomposer(tower, head_frames(tower, range(tower.n_layers)))
    answers = {}
    for name, template, values in GRIDS:
        grid = parse_grid(template, values)
        parts = decomposer(loaded.tokenizer(grid.texts))
        heads = {
            f"L{layer}H{head}": own.double().numpy()
            for layer, vectors in parts.vectors.items()
            for head, own in enumerate(vectors.transpose(0, 1))
        }
        heads["embedding"] = parts.embedding.double().numpy()
        shares = {
            head: factor_shares(own.reshape(*grid.shape, -1), list(grid.slots))
            for head, own in heads.items()
        }
        answers[name] = (
            shares,
            {head: float(own.var(axis=0).sum()) for head, own in heads.items()},
        )
    return answers


@pytest.mark.parametrize(
    ("grid", "slot"),
    [
        *(("colour-kind", "colour"), ("colour-kind", "kind")),
        *(("count-colour-place", "count"), ("count-colour-place", "place")),
        *(("texture-colour", "texture"), ("texture-colour", "colour")),
    ],
)
def test_each_factor_of_the_world_has_a_strong_head_of_its_own(
    grid: str, slot: str, found: dict[str, tuple[Shares, dict[str, float]]]
) -> None:
    shares, variance = found[grid]
    whole = sum(v for head, v in variance.items() if head != "embedding")
    own = [
        head
        for head, of in shares.items()
        if head != "embedding" and of[slot,] > 0.9 and variance[head] > 0.02 * whole
    ]
    assert own, json.dumps({head: of[slot,] for head, of in shares.items()})


def test_the_embedding_binds_nothing_since_the_worlds_factors_are_independent(
    found: dict[str, tuple[Shares, dict[str, float]]],
) -> None:
    for shares, _ in found.values():
        assert sum(share for of, share in shares["embedding"].items() if len(of) > 1) < 0.05
        for of in shares.values():
            assert sum(of.values()) == pytest.approx(1, abs=1e-10)


def test_one_head_carries_one_word_wherever_it_stands(
    found: dict[str, tuple[Shares, dict[str, float]]],
) -> None:
    """The same head is that of colour in every grid, whatever else the text says."""
    strongest = set()
    for shares, variance in found.values():
        carried = {h: of["colour",] * variance[h] for h, of in shares.items() if h != "embedding"}
        strongest.add(max(carried, key=carried.__getitem__))
    assert len(strongest) == 1
