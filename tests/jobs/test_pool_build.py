"""Pools by a language model: the same however often a build is killed, and cleaned."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from llm_server import Script, descriptions, scheduled, serving

from jobs.commands.pool.build import PoolBuildConfig, estimate, run
from jobs.commands.pool.words import PoolWordsConfig
from jobs.commands.pool.words import run as run_words
from pipeline.texts.pool_build import (
    Descriptions,
    Gathered,
    near_duplicates,
    parts_needed,
    random_directions,
)
from schemas.errors import LanguageModelError, UsageError
from tests import warm
from warehouse.files.layout import Warehouse
from warehouse.store.pools import read_pool

PROPERTIES = ("colour", "texture", "indoor place", "count", "animal")
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-1234")


def config(root: Path, url: str, **options: object) -> PoolBuildConfig:
    given = {
        "warehouse": root,
        "llm": "tiny",
        "base_url": url,
        "name": "made",
        "properties": PROPERTIES,
        "per_property": 800,
        **options,
    }
    return PoolBuildConfig.checked(given)


def test_a_build_killed_twice_pays_once_and_equals_an_undisturbed_one(tmp_path: Path) -> None:
    calm = Script(descriptions)
    with serving(calm) as url:
        whole = run(config(tmp_path / "calm", url))
    assert whole.kept == 4000
    expected = read_pool(Warehouse(tmp_path / "calm"), "made")

    script = Script(descriptions, faults=scheduled, delay=0.05)
    root = tmp_path / "killed"
    code = (
        "import sys; from pathlib import Path\n"
        "from jobs.commands.pool.build import PoolBuildConfig, run\n"
        "run(PoolBuildConfig.checked(dict(warehouse=Path(sys.argv[1]), base_url=sys.argv[2],"
        f" llm='tiny', name='made', properties={PROPERTIES!r}, per_property=800,"
        " concurrency=2)))"
    )
    with serving(script) as url:
        kept = 0
        for _ in range(2):
            process = warm.Program(
                [sys.executable, "-c", code, root, url], cwd=ROOT, stderr=subprocess.DEVNULL
            )
            _wait_for(root, kept + 15, process)
            process.send_signal(signal.SIGKILL)
            process.wait()
            kept = _replies(root)
        finished = run(config(root, url))
    assert _replies(root) == 100
    assert finished.counts.cached == kept
    assert finished.counts.paid == 100 - kept
    # only what was in flight at a kill, at most two answers each, was never received
    assert 0 <= sum(script.good.values()) - 100 <= 4
    found = read_pool(Warehouse(root), "made")
    assert (found.texts, found.properties) == (expected.texts, expected.properties)


def _replies(root: Path) -> int:
    return len(list((root / "pools" / ".replies").glob("*/*.json")))


def _wait_for(root: Path, count: int, process: warm.Program) -> None:
    limit = time.monotonic() + 120
    while _replies(root) < count:
        assert process.poll() is None, "the build ended before it was killed"
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_dry_run_asks_nothing_and_knows_what_is_paid(tmp_path: Path) -> None:
    script = Script(descriptions)
    with serving(script) as url:
        asked = config(tmp_path, url, per_property=80, price_in=1.0, price_out=2.0)
        before = estimate(asked)
        assert not script.forms
        built = run(asked)
        after = estimate(asked)
    assert (before.questions, before.cached, after.cached) == (10, 0, 10)
    assert before.cost is not None and before.cost > 0
    assert after.cost == 0
    assert built.counts.prompt_tokens == 1000
    assert built.cost == pytest.approx((1000 + 2 * 500) / 1e6)


def test_a_property_that_comes_back_short_is_asked_again(tmp_path: Path) -> None:
    def repeats(question: str) -> dict[str, object]:
        answer = descriptions(question)
        for item in answer["items"][::2]:
            item["text"] = "a red thing"
        return answer

    with serving(Script(repeats)) as url:
        built = run(config(tmp_path, url, properties=("colour",), per_property=60))
    pool = read_pool(Warehouse(tmp_path), "made")
    assert built.kept >= 55
    assert built.duplicates > 25
    assert set(pool.properties) == {"colour"}
    assert pool.provenance["model"] == "tiny"
    assert "sk-secret" not in str(pool.provenance)


def test_classes_give_descriptions_with_their_own_property(tmp_path: Path) -> None:
    classes = tmp_path / "classes.txt"
    classes.write_text("heron\nn01\tpelican\nheron\n")
    with serving(Script(descriptions)) as url:
        built = run(config(tmp_path, url, per_property=0, classes=classes, per_class=10))
        assert built.kept == 20
        with pytest.raises(UsageError, match="nothing to ask"):
            run(config(tmp_path, url, per_property=0))
        with pytest.raises(UsageError, match="no file"):
            run(config(tmp_path, url, classes=tmp_path / "none.txt"))


def test_a_server_that_never_answers_well_gives_one_line(tmp_path: Path) -> None:
    with (
        serving(Script(descriptions, faults=lambda question, n: "refused")) as url,
        pytest.raises(LanguageModelError, match="no usable description"),
    ):
        run(config(tmp_path, url, properties=("colour",), per_property=10))


def test_near_duplicates_are_those_close_to_an_earlier_kept_text() -> None:
    rng = np.random.default_rng(0)
    base = random_directions(300, 16, seed=1)
    near = base[rng.integers(0, 300, 80)] + 0.01 * rng.normal(size=(80, 16))
    near = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    texts = np.concatenate([base, near])
    dropped = near_duplicates(texts, 0.97, block=64)
    kept: list[int] = []
    for i, text in enumerate(texts):
        if not kept or (texts[kept] @ text).max() < 0.97:
            kept.append(i)
    assert sorted(set(range(380)) - set(kept)) == dropped.tolist()
    assert len(dropped) >= 80


def test_gathering_counts_what_it_leaves_out() -> None:
    gathered = Gathered()
    items = [{"text": t, "property": "Place Of"} for t in ("A beach.", " a  beach", "", "snow")]
    assert gathered.add(Descriptions.model_validate({"items": items})) == 2
    assert (gathered.empty, gathered.duplicates) == (1, 1)
    assert gathered.count("place_of") == 2
    assert parts_needed(95, 40) == [40, 40, 15]


def test_words_are_common_and_unique(tmp_path: Path) -> None:
    assert run_words(PoolWordsConfig(warehouse=tmp_path, count=300)) == 300
    pool = read_pool(Warehouse(tmp_path), "words")
    assert "house" in pool.texts
    assert len(set(pool.texts)) == 300


def test_the_key_is_read_from_the_environment_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not any(
        "key" in name and name != "key_variable" for name in PoolBuildConfig.model_fields
    )
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UsageError, match="OPENAI_API_KEY"):
        run(PoolBuildConfig(warehouse=tmp_path, llm="x", name="p", properties=("colour",)))
