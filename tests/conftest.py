"""Shared fixtures; shapes in signatures are checked in every test by jaxtyping and beartype."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

_hook = install_import_hook(["pipeline", "warehouse", "demo.world"], "beartype.beartype")


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One local Ray for all tests that need it."""
    from jobs.cluster import cluster

    with cluster(None):
        yield


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return metadata.csv of 240 pictures of the demo world, made once."""
    from demo.world import materialise

    return materialise("test", tmp_path_factory.mktemp("world") / "pictures", 240)


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the config file of a CLIP small enough for tests: 3 layers of 3 heads."""
    import json

    path = tmp_path_factory.mktemp("model") / "tiny.json"
    vision = {"image_size": 32, "layers": 3, "width": 24, "head_width": 8, "patch_size": 8}
    text = {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    path.write_text(json.dumps({"embed_dim": 20, "vision_cfg": vision, "text_cfg": text}))
    return path
