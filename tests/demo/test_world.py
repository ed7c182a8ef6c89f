import csv
import itertools
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage, stats

from demo.world import (
    FACTORS,
    HELD_OUT,
    IMAGE_SIZE,
    PROMPTS,
    SPLITS,
    batch,
    caption,
    contact_sheet,
    descriptions,
    materialise,
    materialise_birds,
    painters,
    place_of,
    scene,
    verify_checksums,
    vocabulary,
)
from demo.world.checksums import SIDES
from demo.world.factors import CATEGORY_OF_KIND, LAND_BIRD_KINDS, WATER_BIRD, WATER_BIRD_KINDS
from demo.world.palette import BODY_RGB
from demo.world.splits import draw_factors
from demo.world.sprites import coloured, sprite
from demo.world.words import (
    BIRD_NOUNS,
    CATEGORY_NOUNS,
    COLOURS,
    COUNTS,
    NOUNS,
    PLACE_NAMES,
    PLACE_TAILS,
    TEXTURE_TAILS,
    TEXTURES,
    TONE_ADJECTIVES,
    TONE_TAILS,
)
from schemas.errors import CorruptStore, UnknownName, UsageError

splits = st.sampled_from(list(SPLITS))
indices = st.integers(0, 10**9)


@cache
def drawn(split: str, index: int) -> dict[str, int]:
    """Factors alone, as `scene` draws them, without drawing the picture."""
    return draw_factors(SPLITS[split], np.random.default_rng([7, SPLITS[split].code, index]))


def drawn_factors(split: str, count: int) -> dict[str, np.ndarray]:
    """The factors of a split's first pictures."""
    rows = [drawn(split, index) for index in range(count)]
    return {name: np.array([row[name] for row in rows]) for name in FACTORS}


# --- the same bytes, always


@pytest.mark.parametrize("side", SIDES)
def test_the_first_pictures_of_every_split_have_the_kept_digests(side: int) -> None:
    verify_checksums(side=side)


def test_a_changed_picture_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo.world.scenes.BIRD_SIZE", 20)
    verify_checksums(["test"])
    with pytest.raises(CorruptStore, match="birds_test"):
        verify_checksums(["birds_test"])


def test_a_batch_is_its_scenes_whatever_the_order_or_the_processes() -> None:
    alone = [scene("test", index) for index in reversed(range(5, 15))][::-1]
    with painters(2) as by:
        batches = batch("test", 5, 15), batch("test", 5, 15, by=by)
    for together in batches:
        assert together.images.tobytes() == b"".join(s.image.tobytes() for s in alone)
        assert together.masks.tobytes() == b"".join(s.mask.tobytes() for s in alone)
        for name, codes in together.factors.items():
            assert codes.dtype == np.int64
            assert codes.tolist() == [s.factors[name] for s in alone]


def test_seed_split_and_index_each_change_the_picture() -> None:
    base = scene("train", 0, seed=1).image
    for other in (("train", 0, 2), ("train", 1, 1), ("val", 0, 1)):
        assert not np.array_equal(base, scene(*other).image)


def test_an_empty_batch_keeps_its_shape() -> None:
    empty = batch("test", 3, 3)
    assert empty.images.shape == (0, IMAGE_SIZE, IMAGE_SIZE, 3)
    assert empty.factors["kind"].shape == (0,)


def test_an_unknown_split_is_refused_by_name() -> None:
    with pytest.raises(UnknownName, match="birds_train"):
        scene("tset", 0)


# --- pictures and masks


def test_larger_pictures_show_the_same_factors_in_proportion() -> None:
    small, large = batch("test", 0, 80), batch("test", 0, 80, side=96)
    assert large.images.shape == (80, 96, 96, 3)
    for name, codes in small.factors.items():
        np.testing.assert_array_equal(large.factors[name], codes)
    assert (large.masks > 0).mean() == pytest.approx((small.masks > 0).mean(), rel=0.1)


@pytest.mark.parametrize("side", [63, 97])
def test_a_size_that_nothing_is_drawn_at_is_refused(side: int) -> None:
    with pytest.raises(UsageError, match="64 to 96"):
        scene("test", 0, side=side)


@given(split=splits, index=indices, side=st.sampled_from([64, 64, 64, 80, 96]))
@settings(max_examples=150, deadline=None)
def test_the_mask_holds_as_many_separate_objects_as_the_count_says(
    split: str, index: int, side: int
) -> None:
    drawn = scene(split, index, side=side)
    count = drawn.factors["count"] + 1
    assert np.unique(drawn.mask).tolist() == list(range(count + 1))
    sizes = np.bincount(drawn.mask.ravel())[1:]
    assert sizes.min() >= (28 if drawn.factors["bird"] >= 0 else 60)
    touching = np.ones((3, 3))
    pieces, found = ndimage.label(drawn.mask > 0, structure=touching)
    for piece in range(1, found + 1):
        owners = np.unique(drawn.mask[pieces == piece])
        assert len(owners) == 1, "two objects touch"


@given(index=indices)
@settings(max_examples=60, deadline=None)
def test_objects_stand_out_from_what_is_around_them(index: int) -> None:
    drawn = scene("test", index)
    solid = drawn.mask > 0
    ring = ndimage.binary_dilation(solid, iterations=6) & ~ndimage.binary_dilation(
        solid, iterations=2
    )
    image = drawn.image.astype(float)
    rim = ndimage.binary_dilation(solid) & ~solid
    inside, outside, edge = (image[where].mean(axis=0) for where in (solid, ring, rim))
    assert max(np.abs(inside - outside).max(), np.abs(edge - outside).max()) > 12


@given(
    kind=st.integers(0, len(FACTORS["kind"]) - 1),
    colour=st.integers(0, len(FACTORS["colour"]) - 1),
    pattern=st.integers(0, len(FACTORS["texture"]) - 1),
    size=st.integers(12, 28),
)
@settings(max_examples=80, deadline=None)
def test_an_object_paints_only_where_it_covers(
    kind: int, colour: int, pattern: int, size: int
) -> None:
    shape = sprite(kind, size, mirrored=False, tilt=8)
    sums = coloured(shape, colour, pattern, np.random.default_rng(size))
    cover = shape.cover[..., None].astype(int)
    assert sums.min() >= 0
    assert (sums <= 255 * cover).all()
    assert cover[:2].max() == cover[-2:].max() == cover[:, :2].max() == cover[:, -2:].max() == 0


def test_colours_differ_from_each_other_by_far() -> None:
    bodies = [np.array(rgb, dtype=float) for rgb in BODY_RGB.values()]
    apart = [float(np.abs(a - b).sum()) for a, b in itertools.combinations(bodies, 2)]
    assert min(apart) > 90


# --- factors


def test_held_out_combinations_occur_in_their_own_split_alone() -> None:
    total = len(FACTORS["kind"]) * len(FACTORS["colour"])
    assert 0.07 < len(HELD_OUT) / total < 0.09
    for split in SPLITS:
        codes = drawn_factors(split, 3000)
        pairs = set(zip(codes["kind"].tolist(), codes["colour"].tolist(), strict=True))
        if split == "test_heldout":
            assert pairs == HELD_OUT
        else:
            assert not pairs & HELD_OUT


def test_every_kind_and_every_colour_is_still_trained_on() -> None:
    assert max(np.bincount([kind for kind, _ in HELD_OUT])) == 1
    per_colour = np.bincount([colour for _, colour in HELD_OUT], minlength=len(FACTORS["colour"]))
    assert per_colour.min() >= 2 and per_colour.max() <= 4


@pytest.mark.parametrize("split", ["train", "test"])
def test_factors_are_independent(split: str) -> None:
    codes = drawn_factors(split, 8000)
    free = ["kind", "colour", "count", "texture", "background", "tone"]
    for a, b in itertools.combinations(free, 2):
        if {a, b} == {"kind", "colour"}:
            continue
        table = np.zeros((len(FACTORS[a]), len(FACTORS[b])))
        np.add.at(table, (codes[a], codes[b]), 1)
        assert stats.chi2_contingency(table).pvalue > 1e-4, (a, b)


def test_category_follows_from_kind_and_bird_is_unset_outside_the_birds_splits() -> None:
    codes = drawn_factors("train", 500)
    assert codes["category"].tolist() == [CATEGORY_OF_KIND[kind] for kind in codes["kind"]]
    assert set(codes["bird"].tolist()) == {-1}


@pytest.mark.parametrize(
    ("split", "aligned"),
    [("birds_train", 0.985), ("birds_val", 0.985), ("birds_select", 0.5), ("birds_test", 0.5)],
)
def test_bird_and_place_fit_as_often_as_the_split_says(split: str, aligned: float) -> None:
    codes = drawn_factors(split, 6000)
    place = np.array([place_of({"background": code}) for code in codes["background"].tolist()])
    share = float((codes["bird"] == place).mean())
    assert abs(share - aligned) < 4 * np.sqrt(aligned * (1 - aligned) / 6000)
    assert abs(float(codes["bird"].mean()) - 0.5) < 0.03
    for kind, bird in zip(codes["kind"].tolist(), codes["bird"].tolist(), strict=True):
        assert kind in (WATER_BIRD_KINDS if bird == WATER_BIRD else LAND_BIRD_KINDS)


# --- captions

_PHRASES: dict[str, dict[str, set[str]]] = {
    "kind": {value: {n for pair in nouns for n in pair} for value, nouns in NOUNS.items()},
    "category": {
        value: {n for pair in nouns for n in pair} for value, nouns in CATEGORY_NOUNS.items()
    },
    "bird": {value: set(nouns) for value, nouns in BIRD_NOUNS.items()},
    "colour": {value: set(names) for value, names in COLOURS.items()},
    "count": {value: {*names, names[1].removeprefix("a ")} for value, names in COUNTS.items()},
    "texture": {v: {*TEXTURES[v], *TEXTURE_TAILS[v]} for v in FACTORS["texture"]},
    "background": {v: {*PLACE_TAILS[v], *PLACE_NAMES[v]} for v in FACTORS["background"]},
    "tone": {v: {*TONE_TAILS[v], *TONE_ADJECTIVES[v]} for v in FACTORS["tone"]},
}
_LEXICON = sorted(
    (
        (phrase, factor, value)
        for factor, values in _PHRASES.items()
        for value, phrases in values.items()
        for phrase in phrases
    ),
    key=lambda entry: -len(entry[0].split()),
)


def parsed(text: str) -> dict[str, str]:
    """Read the factors back out of a caption, longest phrases first."""
    left, stated = f" {text} ", {}
    for phrase, factor, value in _LEXICON:
        if f" {phrase} " in left:
            left = left.replace(f" {phrase} ", " | ", 1)
            assert factor not in stated, f"{factor} stated twice in {text!r}"
            stated[factor] = value
    return stated


@given(split=splits, index=indices, choice=st.integers(0, 2**32))
@settings(max_examples=600, deadline=None)
def test_a_caption_states_what_it_says_it_mentions_and_states_it_truly(
    split: str, index: int, choice: int
) -> None:
    factors = draw_factors(SPLITS[split], np.random.default_rng(index))
    said = caption(factors, np.random.default_rng(choice), split=split)
    truth = {name: FACTORS[name][factors[name]] for name in said.mentions}
    assert parsed(said.text) == truth
    assert said.mentions
    is_birds = split.startswith("birds")
    assert not said.mentions & ({"kind", "category", "count"} if is_birds else {"bird"})
    assert set(said.text.split()) <= set(vocabulary())


def test_captions_mention_every_factor_and_vary() -> None:
    rng = np.random.default_rng(0)
    factors = scene("train", 0).factors
    said = [caption(factors, rng, split="train") for _ in range(2000)]
    for name in ("kind", "category", "colour", "count", "texture", "background", "tone"):
        assert 0.1 < np.mean([name in c.mentions for c in said]) < 0.7, name
    assert len({c.text for c in said}) > 1200


def test_prompts_cover_every_value_in_known_words() -> None:
    words = set(vocabulary())
    assert vocabulary() == tuple(sorted(words)) and len(words) < 400
    for factor, values in FACTORS.items():
        assert tuple(PROMPTS[factor]) == values
        for value, prompts in PROMPTS[factor].items():
            assert len(set(prompts)) >= 5
            for prompt in prompts:
                assert set(prompt.split()) <= words and prompt == prompt.lower()
                assert parsed(prompt) == {factor: value}


def test_descriptions_are_distinct_and_labelled() -> None:
    texts = descriptions()
    assert len({text for text, _ in texts}) == len(texts) >= 500
    expected = (set(FACTORS) - {"kind"}) | {"object", "shape", "mixed"}
    assert {name for _, name in texts} == expected
    for text, name in texts:
        assert len(parsed(text)) == (2 if name == "mixed" else 1), text


# --- files


def test_materialise_writes_what_scene_draws_once(tmp_path: Path) -> None:
    target = tmp_path / "data" / "test"
    metadata = materialise("test", target, 6)
    rows = list(csv.DictReader(metadata.read_text().splitlines()))
    for index, row in enumerate(rows):
        drawn = scene("test", index)
        assert np.array_equal(np.asarray(Image.open(target / row["img_filename"])), drawn.image)
        mask = np.asarray(Image.open(target / row["mask_filename"]))
        assert np.array_equal(mask, np.where(drawn.mask > 0, 255, 0))
        for name, code in drawn.factors.items():
            assert row[name] == (FACTORS[name][code] if code >= 0 else "")
        assert set(row["caption"].split()) <= set(vocabulary())
    assert len(rows) == 6
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
    assert materialise("test", target, 6) == metadata
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*")} == before
    assert [path.name for path in target.parent.iterdir()] == ["test"]


def test_materialise_repairs_what_was_changed_and_makes_the_same_again(tmp_path: Path) -> None:
    target = tmp_path / "birds"
    materialise("birds_test", target, 3)
    first = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    (target / "images" / "000001.png").write_bytes(b"")
    materialise("birds_test", target, 3)
    assert {path: path.read_bytes() for path in target.rglob("*") if path.is_file()} == first
    materialise("birds_test", target, 2)
    assert len(list((target / "images").iterdir())) == 2


def test_materialise_leaves_a_directory_of_something_else_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="give another one"):
        materialise("test", tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_birds_come_in_waterbirds_own_columns(tmp_path: Path) -> None:
    counts = {"birds_train": 5, "birds_val": 2, "birds_test": 3, "birds_select": 4}
    metadata = materialise_birds(tmp_path / "birds", counts)
    reader = csv.DictReader(metadata.read_text().splitlines())
    rows = list(reader)
    header = ["img_id", "img_filename", "y", "split", "place", "place_filename"]
    assert reader.fieldnames == header
    assert [row["split"] for row in rows] == [*"00000", *"11", *"222", *"3333"]
    for number, row in enumerate(rows, start=1):
        split, index = row["img_filename"].removeprefix("images/").removesuffix(".png").split("/")
        drawn = scene(split, int(index))
        assert row["img_id"] == str(number)
        assert int(row["y"]) == drawn.factors["bird"]
        assert int(row["place"]) == place_of(drawn.factors)
        assert (metadata.parent / row["img_filename"].replace("images", "masks")).is_file()
    with pytest.raises(UsageError, match="birds_select"):
        materialise_birds(tmp_path / "other", {"train": 1})


def test_a_contact_sheet_shows_the_pictures() -> None:
    sheet = np.asarray(contact_sheet("test", 2, 3, scale=1, captions=False))
    assert np.array_equal(sheet[10:74, 10:74], scene("test", 0).image)
    assert (
        contact_sheet("birds_test", 1, 2).height
        > contact_sheet("birds_test", 1, 2, captions=False).height
    )
