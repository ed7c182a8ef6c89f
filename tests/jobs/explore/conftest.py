"""A small warehouse with every result, and an explorer over it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from demo.world import materialise
from jobs import cli
from jobs.commands.demo import MODEL, WEIGHTS, write_world_pool
from jobs.explore.app import application
from jobs.explore.explorer import Explorer
from tests.synthetic import write_scan
from warehouse.database.publish import publish
from warehouse.files.layout import Warehouse

PICTURES = 160


def headatlas(*arguments: str) -> None:
    """Run the program in this process; it must end well."""
    with pytest.raises(SystemExit) as ended:
        cli.main(list(arguments))
    assert ended.value.code == 0, arguments


@pytest.fixture(scope="session")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Return a warehouse of the world, with every result that pages show."""
    root = tmp_path_factory.mktemp("explored")
    listing = materialise("test", root / "pictures", PICTURES, side=64)
    warehouse = Warehouse(root / "atlas")
    here = ("--warehouse", str(warehouse.root))
    quiet = (*here, "--no-publish")
    headatlas(
        *("scan", str(listing), "--path-column", "img_filename", "--labels", "kind"),
        *("--model", str(MODEL), "--pretrained", str(WEIGHTS), "--scan", "world"),
        *("--shard-size", "64", "--batch-size", "32", "--workers", "0", *quiet),
    )
    write_world_pool(warehouse)
    headatlas("textspan", "--pool", "world", "-m", "12", *quiet)
    headatlas("roles", "build", "--basis", "world", "--attributes", *quiet)
    headatlas("zeroshot", "labels", "--classifier", "kinds", "--templates", "none", *quiet)
    headatlas("evaluate", "--queries", "40", *quiet)
    few = ("--workers", "0", "--sample", "8", *quiet)
    headatlas("effects", "--classifier", "kinds", "--check", "0", *few)
    headatlas("edges", *few)
    headatlas("similarity", *quiet)
    publish(warehouse)
    return warehouse


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Return a warehouse of a scan alone: no basis, role, classifier or attribute."""
    warehouse = Warehouse(tmp_path_factory.mktemp("bare"))
    write_scan(warehouse.root)
    publish(warehouse)
    return warehouse


@pytest.fixture(scope="session")
def serve() -> Callable[[Warehouse], TestClient]:
    """Return what makes a client of an explorer on loopback."""

    def client(warehouse: Warehouse) -> TestClient:
        app = application(Explorer.over(warehouse), hosts=("127.0.0.1",), token=None)
        return TestClient(app, base_url="http://127.0.0.1")

    return client


@pytest.fixture(scope="module")
def client(explored: Warehouse, serve: Callable[[Warehouse], TestClient]) -> TestClient:
    """Return a client of the explorer of the warehouse with every result."""
    return serve(explored)


def picture_file(warehouse: Warehouse) -> Path:
    """Return the folder that the pictures of `explored` lie in."""
    return warehouse.root.parent / "pictures"
