"""Retrieval by heads: against a literal computation, and against the SQL macros."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.commands import nearest
from jobs.commands.nearest import NearestConfig
from jobs.steps.neighbour_sheets import write_sheets
from pipeline.heads.ranking import Ranker, precision_of, precision_streamed
from pipeline.heads.retrieval import Scores, best
from schemas.errors import HeadAtlasError
from tests.jobs.test_scan import everything
from warehouse.database.query import query
from warehouse.files.layout import Warehouse

KEY = "images/000007.png"
_RED = """
SELECT key FROM images JOIN image_metadata USING (scan_id, image_id) WHERE colour = 'red'
"""


def ask(warehouse: Path, **options: object) -> nearest.NearestResult:
    return nearest.run(NearestConfig.checked({"warehouse": warehouse, **options}))


@pytest.mark.parametrize("metric", ["cosine", "dot"])
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("heads", [("L2H1",), ("L0H0", "L2H1")])
def test_neighbours_equal_a_literal_computation(
    published: Path, metric: str, centred: bool, heads: tuple[str, ...]
) -> None:
    found = ask(published, query=KEY, head=heads, k=7, metric=metric, centred=centred)
    stored = everything(published)
    rows = [stored[h].astype(np.float64) for h in heads]
    long = np.concatenate([r - r.mean(0) if centred else r for r in rows], axis=1)
    me = list(stored["key"]).index(KEY)
    scores = long @ long[me]
    if metric == "cosine":
        scores /= np.linalg.norm(long, axis=1) * np.linalg.norm(long[me])
    scores[me] = -np.inf
    expected = np.sort(scores)[::-1][:7]
    np.testing.assert_allclose([n.score for n in found.neighbours], expected, rtol=1e-4, atol=1e-7)
    assert KEY not in {n.key for n in found.neighbours}


def test_one_head_gives_what_the_macro_gives(published: Path) -> None:
    found = ask(published, query=KEY, head=["L1H2"], k=9)
    answer = query(
        Warehouse(published), "FROM nearest_by_head(?, 'L1H2', k := 9)", [KEY]
    ).to_pylist()
    assert [n.key for n in found.neighbours] == [row["key"] for row in answer]
    np.testing.assert_allclose(
        [n.score for n in found.neighbours], [row["score"] for row in answer], atol=1e-4
    )


def test_a_file_that_is_also_stored_finds_itself_first(published: Path, world: Path) -> None:
    found = ask(published, query=str(world.parent / KEY), head=["L2H1"], k=3)
    assert found.neighbours[0].key == KEY
    assert found.neighbours[0].score > 0.999


def test_a_text_ranks_by_its_direction_in_the_head(published: Path) -> None:
    by_text = ask(published, text="a red bird", head=["L2H1"], k=240, metric="dot")
    answer = query(
        Warehouse(published),
        "FROM nearest_by_text('a red bird', 'L2H1', k := 240, metric := 'dot')",
    )
    assert [n.key for n in by_text.neighbours][:5] == answer["key"].to_pylist()[:5]


def test_where_keeps_only_pictures_that_satisfy_it(published: Path) -> None:
    found = ask(published, query=KEY, head=["L2H1"], where="colour = 'red'", k=240)
    stored = query(Warehouse(published), _RED)
    assert {n.key for n in found.neighbours} == set(stored["key"].to_pylist()) - {KEY}


def test_sheets_show_as_many_pictures_as_were_found(published: Path, tmp_path: Path) -> None:
    png, page = tmp_path / "sheet.png", tmp_path / "page.html"
    ask(published, query=KEY, head=["L2H1"], k=4, png=png, html=page)
    with Image.open(png) as sheet:
        assert sheet.size[0] > 4 * 100
    # the picture that was asked with stands first
    assert page.read_text().count("<img ") == 5
    assert page.read_text().index(KEY) < page.read_text().index("<img ", 0) + 400


def test_keys_and_labels_are_shown_as_text_whatever_they_hold(tmp_path: Path) -> None:
    odd = "a[red]b\x1b[31m<b>\u202e.png"
    Image.new("RGB", (8, 8), "red").save(tmp_path / "p.png")
    stored = nearest.Neighbour(0, odd, 0.5, odd, str(tmp_path / "p.png"), "")
    found = nearest.NearestResult("s", ("L0H0",), odd, (stored,), None, tmp_path / "p.png")
    write_sheets(found, tmp_path / "s.png", tmp_path / "s.html")
    page = (tmp_path / "s.html").read_text()
    assert page.count("<img ") == 2 and "<b>" not in page
    assert not {"\x1b", "\u202e"} & {*page}
    assert "a[red]b\\x1b[31m&lt;b&gt;\\u202e.png" in page


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"query": "nothing.png", "head": ["L2H1"]}, "no picture 'nothing.png'"),
        ({"query": KEY, "head": ["L9H1"]}, "no head 'L9H1'; there is L0H0"),
        ({"query": KEY, "head": ["colour"]}, "L22H11"),
        ({"query": KEY}, "--head"),
        ({"head": ["L2H1"]}, "--text"),
        ({"query": KEY, "head": ["L2H1"], "where": "hue = 1"}, "columns are"),
        ({"query": KEY, "head": ["L2H1"], "scan": "other"}, "no scan 'other'"),
        ({"query": KEY, "role": "colour"}, "no role 'colour'"),
    ],
)
def test_wrong_questions_say_what_exists(
    published: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(HeadAtlasError, match=words) as caught:
        ask(published, **options)
    assert "\n" not in str(caught.value)


def test_a_picture_without_contribution_scores_nothing() -> None:
    scores = Scores("cosine")
    scores.add(np.zeros((2, 3), np.float16), np.ones(3), None)
    assert scores.values().tolist() == [0, 0]
    assert best(np.array([1.0, 3.0, 3.0]), np.array([5, 9, 7]), 2).tolist() == [2, 1]


def test_precision_and_map_equal_their_definitions() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 6)).astype(np.float16)
    codes = rng.integers(-1, 3, size=40)
    queries = np.arange(0, 40, 3)
    found = precision_of(vectors, {"a": codes}, queries, 5)["a"]
    v = vectors.astype(np.float64) - vectors.astype(np.float64).mean(0)
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    at_5, average = [], []
    for i in queries:
        if codes[i] < 0:
            continue
        others = [j for j in np.argsort(-(v @ v[i]), kind="stable") if j != i]
        hits = [codes[j] == codes[i] for j in others]
        at_5.append(np.mean(hits[:5]))
        ranked = [np.mean(hits[: r + 1]) for r, hit in enumerate(hits) if hit]
        average.append(np.mean(ranked) if ranked else 0)
    np.testing.assert_allclose(found.precision, np.mean(at_5))
    np.testing.assert_allclose(found.average_precision, np.mean(average))


def test_streamed_rankings_with_ties_equal_the_sorted_ones() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.integers(-1, 2, size=(60, 3)).astype(np.float32)  # many equal scores, and zeros
    codes = {"a": rng.integers(-1, 3, size=60), "b": rng.integers(0, 2, size=60)}
    queries = np.sort(rng.choice(60, 20, replace=False))
    found = precision_streamed(lambda: iter(np.split(vectors, [7, 30])), codes, queries, 5)
    v = vectors - vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    length = np.linalg.norm(v, axis=1, keepdims=True)
    v = np.divide(v, length, out=np.zeros_like(v), where=length > 0)
    for name, code in codes.items():
        precision, average, chance = [], [], []
        for i in queries[code[queries] >= 0]:
            scores = (v @ v[i] + 0.0).round(5)
            order = [j for j in np.argsort(-scores, kind="stable") if j != i]
            hits = code[order] == code[i]
            precision.append(hits[:5].mean())
            average.append((np.cumsum(hits) / np.arange(1, 60))[hits].mean() if hits.any() else 0)
            chance.append(hits.mean())
        assert abs(found[name].chance - np.mean(chance)) < 1e-12
        # equal cosines may differ in their last bit: within ties the order is then another
        assert abs(found[name].precision - np.mean(precision)) < 0.1
        assert abs(found[name].average_precision - np.mean(average)) < 0.05
    together = precision_of(vectors.copy(), codes, queries, 5)
    for name, score in together.items():
        assert abs(score.average_precision - found[name].average_precision) < 0.05


def test_equal_scores_rank_by_row_and_zeros_are_one() -> None:
    scores = np.array([0.5, -0.0, 0.0, -1.0, 0.5, -0.25], np.float32)
    ranker = Ranker(6, np.arange(7))
    assert ranker.order(scores, 3).tolist() == [0, 4, 1, 2, 5]
    assert ranker.order(scores, 0).tolist() == [4, 1, 2, 5, 3]
