"""What tests of the database share."""

from pathlib import Path

import pytest

from tests.synthetic import (
    write_basis,
    write_scan,
    write_texts,
)
from tests.warehouse.database.small import SMALL
from warehouse.files.layout import Warehouse


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Return a warehouse of one small scan with a basis, in a folder that SQL must quote."""
    root = tmp_path / "it's [a] warehouse"
    scan = write_scan(root, pictures=20, shape=SMALL)
    write_basis(scan, write_texts(root))
    return Warehouse(root)
