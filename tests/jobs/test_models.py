"""`headatlas models`: what can be scanned, told from the meta device."""

import open_clip
import pytest

from jobs.commands.models import ModelsConfig, run, say
from jobs.steps.early import known_tags
from schemas.errors import UnknownName


def test_each_class_is_listed_with_its_heads_or_its_reason() -> None:
    names = ("ViT-B-32", "ViT-SO400M-14-SigLIP", "RN50", "PE-Core-T-16-384", "convnext_base")
    found = {one.model: one for one in run(ModelsConfig(names=names))}
    shapes = {
        name: (one.layers, one.heads, one.width, one.pool_heads, one.read_out)
        for name, one in found.items()
        if one.reason is None
    }
    assert shapes == {
        "ViT-B-32": (12, 12, 64, None, "tok"),
        "ViT-SO400M-14-SigLIP": (27, 16, 72, 16, "map"),
        "RN50": (0, 0, 64, 32, "attn2d"),
        "PE-Core-T-16-384": (12, 3, 24, 8, "map"),
    }
    assert "no head writes linearly into the embedding" in str(found["convnext_base"].reason)
    assert "openai" in found["RN50"].tags


def test_texts_are_decomposed_or_it_is_said_why_not(capsys: pytest.CaptureFixture[str]) -> None:
    names = ("ViT-B-32", "ViT-B-16-SigLIP", "coca_ViT-B-32", "roberta-ViT-B-32", "convnext_base")
    config = ModelsConfig(names=names)
    done = run(config)
    found = {one.model: one.texts for one in done}
    assert {
        name: (one.layers, one.heads, one.width, one.read_out)
        for name, one in found.items()
        if one.reason is None
    } == {
        "ViT-B-32": (12, 8, 64, "argmax"),
        "ViT-B-16-SigLIP": (12, 12, 64, "last"),
        "coca_ViT-B-32": (12, 8, 64, "cls"),
    }
    assert "roberta-base, whose heads are not decomposed" in str(found["roberta-ViT-B-32"].reason)
    assert "without a scan" in str(found["convnext_base"].reason)
    say(config, done)
    told = capsys.readouterr()
    rows = {line.split("\t")[0]: line.split("\t") for line in told.out.splitlines()}
    at = rows["model"].index("texts")
    assert rows["coca_ViT-B-32"][at] == "12 x 8, cls"
    assert rows["roberta-ViT-B-32"][at].startswith("no: encoded by Hugging Face's roberta-base")
    tags = sum(len(one.tags) for one in done if one.texts.reason is None)
    assert f"texts of 3 models decompose too; {tags} tags" in told.err


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UnknownName, match="ViT-B-99"):
        run(ModelsConfig(names=("ViT-B-99",)))


def test_tags_are_known_without_the_library() -> None:
    """As in open_clip's source; of those with another activation, all of the model without it."""
    known = known_tags()
    assert known is not None
    for name in open_clip.list_models():
        there = set(open_clip.list_pretrained_tags_by_model(name))
        own = known.get(name.removesuffix("-quickgelu"), frozenset())
        assert there <= own and (there == own or name.endswith("-quickgelu")), name
