"""Shared fixtures; shapes in signatures are checked in every test by jaxtyping and beartype."""

import gc
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

BESIDE_OTHERS = "PYTEST_XDIST_WORKER" in os.environ
if BESIDE_OTHERS:
    # read when NumPy and torch are imported: a second thread would wait for the other's core. No
    # OMP_THREAD_LIMIT: where a scan in this process has asked for more, MKL waits for them for ever
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
    os.environ["OMP_WAIT_POLICY"] = "passive"

# a program's modules are compiled at its first start, not at each
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# how long an example takes is the machine's, not ours
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# where there are shapes: what has none pays for the checks all the same
_SHAPED = ["pipeline", "warehouse.store", "warehouse.results", "demo.world"]

if TYPE_CHECKING:
    from jobs.commands.scan import ScanConfig


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Prepare a process that runs tests; one that shares them out has what all fork programs from.

    It is the first hook, called before a conftest.py further down is imported.
    """
    config = pluginmanager.get_plugin("pytestconfig")
    if not BESIDE_OTHERS and getattr(config.known_args_namespace, "numprocesses", None):
        from tests import warm

        folder = tempfile.TemporaryDirectory(prefix="warm-")
        config.add_cleanup(folder.cleanup)
        warm.share(Path(folder.name))
    else:
        # what is imported stays: no looking for garbage in it, now or later
        gc.disable()
        # what a checked module imports is looked for among modules compiled with checks, and so
        # compiled anew: the large libraries are here before
        importlib.import_module("open_clip")
        install_import_hook(_SHAPED, "beartype.beartype")


def pytest_collection_finish() -> None:
    """Look for garbage again, in what tests make."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Let Python end as it does, with nothing left that a library calls a leak."""
    gc.unfreeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Share the tests out so that what a file, or Ray, costs to start is paid once."""
    from tests.shared_out import ByFile

    return ByFile(config, log)


@pytest.fixture(scope="session")
def ray_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One local Ray for all tests that need it; their files name this fixture."""
    from jobs.ray.cluster import cluster

    if BESIDE_OTHERS:
        # a second session of Ray in the suite fails here
        (tmp_path_factory.getbasetemp().parent / "ray").mkdir()
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


def scan_config(world: Path, tiny_config: Path, warehouse: Path, **options: object) -> "ScanConfig":
    """Return the options of a small scan of the world, with some of them replaced."""
    from jobs.commands.scan import ScanConfig

    values = {
        "source": str(world),
        "path_column": "img_filename",
        "labels": "kind",
        "model": str(tiny_config),
        "pretrained": "none",
        "warehouse": warehouse,
        "scan": "s",
        "shard_size": 100,
        "batch_size": 16,
        "workers": 0,
        **options,
    }
    return ScanConfig.checked(values)


@pytest.fixture(scope="session")
def scanned(world: Path, tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the warehouse of a finished scan of the world, made once; do not write to it."""
    from jobs.commands import scan

    warehouse = tmp_path_factory.mktemp("scanned")
    done = scan.run(scan_config(world, tiny_config, warehouse))
    assert (done.images, done.rejects, done.snapshot) == (240, 0, 1)
    return warehouse


@pytest.fixture(scope="session")
def published(scanned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of that warehouse with a pool, a basis and a published database."""
    import shutil

    from jobs.commands import publish, textspan
    from jobs.commands.pool import import_
    from jobs.commands.pool.import_ import PoolImportConfig
    from jobs.commands.publish import PublishConfig
    from jobs.commands.textspan import TextSpanConfig

    warehouse = tmp_path_factory.mktemp("published") / "w"
    shutil.copytree(scanned, warehouse)
    texts = warehouse.parent / "texts.csv"
    colours = ("red", "green", "blue", "white")
    rows = [
        f"a {c} {thing},{p}" for c in colours for thing, p in (("bird", "bird"), ("car", "car"))
    ]
    texts.write_text("\n".join(["text,property", *rows]))
    import_.run(PoolImportConfig(file=texts, warehouse=warehouse, name="small"))
    textspan.run(TextSpanConfig(warehouse=warehouse, pool="small", m=4))
    publish.run(PublishConfig(warehouse=warehouse))
    return warehouse
