"""Prompt templates of a pool's texts: averaged, kept under their own key, and recorded."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from jobs.commands import textspan
from jobs.commands.pool.random import PoolRandomConfig
from jobs.commands.pool.random import run as run_random
from jobs.commands.roles import build as roles
from jobs.commands.roles.build import RolesConfig
from jobs.commands.textspan import TextSpanConfig
from jobs.steps.models import load_for
from jobs.steps.templates import templates_of
from schemas.errors import UsageError
from warehouse.files.layout import Warehouse
from warehouse.results.files import read_result
from warehouse.store.pools import EmbeddedBy, read_embeddings, read_pool

PROMPTS = ("a photo of {}", "{}, drawn badly")


@pytest.fixture
def root(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "w", symlinks=True))


def kept(root: Path) -> set[str]:
    return {path.name for path in (root / "pools" / "small").glob("embeddings-*")}


def test_an_embedding_is_the_renormalised_mean_of_unit_prompt_embeddings(root: Path) -> None:
    before = kept(root)
    done = textspan.run(
        TextSpanConfig(warehouse=root, pool="small", m=4, template=PROMPTS, basis="prompted")
    )
    assert len(before) == 1
    (made,) = kept(root) - before
    record = Warehouse(root).scan("s").load_record()
    by = EmbeddedBy(record.model.weights_sha256, record.precision, PROMPTS)
    assert by.file(Warehouse(root), "small").name == made
    found = read_embeddings(Warehouse(root), "small", by)
    assert found is not None
    model = load_for(record)
    for text, embedding in zip(read_pool(Warehouse(root), "small").texts, found, strict=True):
        prompts = model.encode_text([prompt.replace("{}", text) for prompt in PROMPTS]).numpy()
        units = prompts / np.linalg.norm(prompts, axis=1, keepdims=True)
        mean = units.mean(axis=0)
        np.testing.assert_allclose(embedding, mean / np.linalg.norm(mean), atol=1e-5)
    table, provenance = read_result(done.path)
    assert tuple(provenance["templates"]) == PROMPTS
    plain = read_result(root / "scans" / "s" / "textspan" / "small.parquet")
    assert plain[1]["templates"] == []
    assert table["variance"].to_pylist() != plain[0]["variance"].to_pylist()


def test_roles_are_tested_on_the_texts_that_the_basis_was_made_with(root: Path) -> None:
    textspan.run(TextSpanConfig(warehouse=root, pool="small", m=4, template=PROMPTS))
    for path in (root / "pools" / "small").glob("embeddings-*"):
        path.unlink()
    roles.run(RolesConfig(warehouse=root, basis="small", turns=4, attributes=False))
    record = Warehouse(root).scan("s").load_record()
    by = EmbeddedBy(record.model.weights_sha256, record.precision, PROMPTS)
    assert kept(root) == {by.file(Warehouse(root), "small").name}


def test_templates_are_read_from_options_names_and_files(tmp_path: Path) -> None:
    lines = tmp_path / "prompts.txt"
    lines.write_text("a sketch of {}\n\n{} at night\n")
    assert templates_of(["a {}", str(lines), "a {}"]) == ("a {}", "a sketch of {}", "{} at night")
    assert len(templates_of(["openai"])) == 80
    assert templates_of([]) == templates_of(["{}"]) == ()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("a photo", "template 'a photo' has no {} and is no file"),
        ("{} and {}", "got '{} and {}'; expected templates with one {} each"),
    ],
)
def test_a_template_without_one_place_for_the_text_is_refused(
    root: Path, given: str, words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        textspan.run(TextSpanConfig(warehouse=root, pool="small", template=(given,)))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_of_templates_that_has_one_without_a_place_is_refused(tmp_path: Path) -> None:
    lines = tmp_path / "prompts.txt"
    lines.write_text("a sketch of {}\na sketch\n")
    with pytest.raises(UsageError, match="'a sketch'"):
        templates_of([str(lines)])


def test_random_directions_take_no_templates(root: Path) -> None:
    run_random(PoolRandomConfig(warehouse=root, count=30))
    with pytest.raises(UsageError, match="holds vectors, no texts"):
        textspan.run(TextSpanConfig(warehouse=root, pool="random", template=PROMPTS))
