"""`headatlas texts`: what it stores against the text tower's own output, in Parquet and SQL."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from jobs.commands import publish, texts
from jobs.commands.pool import import_
from jobs.commands.pool.import_ import PoolImportConfig
from jobs.commands.texts import TextsConfig
from pipeline.heads.textspan import textspan
from pipeline.towers.models import LoadedModel, load_model
from schemas.errors import UnknownName, UsageError
from tests.jobs.test_effects_job import made
from warehouse.database.query import query
from warehouse.files.layout import Warehouse
from warehouse.results.files import read_result
from warehouse.store.reading import matrix

__all__ = ["made"]

TEXTS = (
    "a red duck on the water",
    "two green cats",
    "an octopus",
    "a photo of a striped red boat",
    "snow",
    "three blue stars at dusk",
)


@pytest.fixture(scope="module")
def stored(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a warehouse with a decomposed pool, published; do not write to it."""
    root = tmp_path_factory.mktemp("texts") / "w"
    shutil.copytree(made, root)
    lines = root.parent / "texts.txt"
    lines.write_text("\n".join(TEXTS))
    import_.run(PoolImportConfig(file=lines, warehouse=root, name="mine"))
    done = texts.run(TextsConfig(pool="mine", warehouse=root, words=True, m=3, batch_size=4))
    assert (done.texts, done.cut, done.heads, done.reused) == (6, 0, 2, False)
    publish.run(publish.PublishConfig(warehouse=root))
    return root


@pytest.fixture(scope="module")
def loaded(tiny_config: Path) -> LoadedModel:
    return load_model(str(tiny_config), "none")


def test_the_same_again_is_reused_and_other_layers_are_not(stored: Path, tmp_path: Path) -> None:
    assert texts.run(TextsConfig(pool="mine", warehouse=stored, words=True, m=3)).reused
    assert texts.run(TextsConfig(pool="mine", warehouse=stored, m=3)).reused
    root = tmp_path / "w"
    shutil.copytree(stored, root)
    assert not texts.run(TextsConfig(pool="mine", warehouse=root, m=2)).reused


def test_stored_vectors_are_the_literal_contributions(stored: Path, loaded: LoadedModel) -> None:
    """Each head's Q·vector against its output through the weights, token by token."""
    clip = loaded.clip.double()
    ids = loaded.tokenizer(list(TEXTS))
    block, n = clip.transformer.resblocks[0], len(ids)
    x = clip.token_embedding(ids) + clip.positional_embedding
    attn, end = block.attn, ids.argmax(dim=1)
    width, d = attn.embed_dim, attn.embed_dim // attn.num_heads
    qkv = block.ln_1(x) @ attn.in_proj_weight.T + attn.in_proj_bias
    z = clip.transformer(x, attn_mask=clip.attn_mask)[torch.arange(n), end]
    sigma = (z.var(dim=-1, correction=0) + clip.ln_final.eps).sqrt()
    own = clip.encode_text(ids)
    unit = own / own.norm(dim=1, keepdim=True)
    folder = Warehouse(stored).scan("s").path
    frames = read_result(folder / "text_frames" / "text_frames.parquet")[0].to_pylist()
    rows = read_result(folder / "text_contributions" / "mine.parquet")[0]
    words = read_result(folder / "text_words" / "mine.parquet")[0].to_pylist()
    for head in range(2):
        q, k, v = (qkv[..., p * width + head * d : p * width + (head + 1) * d] for p in range(3))
        alpha = (q @ k.mT / d**0.5 + clip.attn_mask).softmax(-1)[torch.arange(n), end]
        weight = attn.out_proj.weight[:, head * d : (head + 1) * d]
        each = (alpha[..., None] * v) @ weight.T
        each = (each - each.mean(-1, keepdim=True)) * clip.ln_final.weight @ clip.text_projection
        each = each / (sigma * own.norm(dim=1))[:, None, None]
        frame = torch.tensor(frames[head]["q"], dtype=torch.float64).reshape(-1, d)
        here = rows.filter(np.equal(rows["head"].to_numpy(), head))
        c = torch.from_numpy(matrix(here["vector"]).astype(float)) @ frame.T
        expected = each.sum(dim=1)
        assert ((c - expected).norm(dim=1) <= 2e-3 * expected.norm(dim=1)).all()
        share = torch.tensor(here["share"].to_pylist(), dtype=torch.float64)
        torch.testing.assert_close(share, (expected * unit).sum(dim=1), atol=1e-5, rtol=0)
        # the tokenizer of CLIP has a token for each of these words
        for text, line in enumerate(TEXTS):
            own_words = [r for r in words if r["head"] == head and r["description_id"] == text]
            names = ["<start>", *line.split(), "<end>"]
            assert [r["word"] for r in own_words] == names
            for row in own_words:
                c = frame @ torch.tensor(row["vector"]).double()
                torch.testing.assert_close(c, each[text, row["place"]], atol=5e-5, rtol=2e-3)


def test_tables_hold_the_moments_and_the_texts_that_span(stored: Path) -> None:
    w = Warehouse(stored)
    rows = query(w, "SELECT * FROM text_heads ORDER BY head").to_pylist()
    assert [row["name"] for row in rows] == ["L0H0", "L0H1"]
    asked = "SELECT vector FROM text_contributions WHERE head = 1 ORDER BY description_id"
    vectors = np.array(query(w, asked)["vector"].to_pylist())
    sigma = np.cov(vectors.T, bias=True)
    assert rows[1]["n"] == len(TEXTS) and rows[1]["pool"] == "mine" and not rows[1]["stale"]
    np.testing.assert_allclose(rows[1]["mean"], vectors.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(rows[1]["variance"], np.trace(sigma), rtol=1e-6)
    frames = read_result(w.scan("s").path / "text_frames" / "text_frames.parquet")[0].to_pylist()
    q = np.array(frames[1]["q"]).reshape(-1, vectors.shape[1])
    loaded = load_model(str(w.scan("s").load_record().model_path), "none")
    embedding = loaded.encode_text(list(TEXTS)).numpy()
    basis = textspan([sigma], [q], embedding, 3)
    asked = "SELECT * FROM text_textspan WHERE head = 1 ORDER BY rank"
    picks = query(w, asked).to_pylist()
    assert [row["text"] for row in picks] == [TEXTS[i] for i in basis.picks[0]]
    np.testing.assert_allclose([r["explained"] for r in picks], basis.explained[0], atol=1e-6)
    # a text's words add up to its heads
    asked = (
        "SELECT max(abs(w.share - c.share)) AS off FROM text_contributions AS c JOIN (SELECT head, "
        "description_id, sum(share) AS share FROM text_words GROUP BY ALL) AS w "
        "USING (head, description_id)"
    )
    assert query(w, asked).to_pylist()[0]["off"] < 1e-5


def test_wrong_questions_are_answered_in_one_line(stored: Path) -> None:
    with pytest.raises(UnknownName, match=r"pool.*'none'.*mine"):
        texts.run(TextsConfig(pool="none", warehouse=stored))
    with pytest.raises(UsageError, match="this model has layers 0 to 0"):
        texts.run(TextsConfig(pool="mine", warehouse=stored, layers="1"))


def test_too_many_numbers_are_refused(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.steps.texts.MOST_NUMBERS", 10)
    with pytest.raises(UsageError, match="expected at most 10; give fewer --layers"):
        texts.run(TextsConfig(pool="mine", warehouse=stored, m=1))


def test_a_text_that_is_cut_is_counted(stored: Path, tmp_path: Path) -> None:
    root = tmp_path / "w"
    shutil.copytree(stored, root)
    (tmp_path / "long.txt").write_text("duck " * 40 + "\na duck")
    import_.run(PoolImportConfig(file=tmp_path / "long.txt", warehouse=root, name="long"))
    assert texts.run(TextsConfig(pool="long", warehouse=root, m=1)).cut == 1
