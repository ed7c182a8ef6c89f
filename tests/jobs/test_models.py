"""`headatlas models`: what can be scanned, told from the meta device."""

import pytest

from jobs.commands.models import ModelsConfig, run
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


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UnknownName, match="ViT-B-99"):
        run(ModelsConfig(names=("ViT-B-99",)))
