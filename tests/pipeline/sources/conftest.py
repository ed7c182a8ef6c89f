"""Fixtures of the sources' tests."""

from collections.abc import Iterator

import fsspec
import pytest


@pytest.fixture
def memory() -> Iterator[str]:
    """The root of fsspec's memory file system, empty."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    yield "memory://box"
    fs.store.clear()
