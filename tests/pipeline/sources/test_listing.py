"""What holds for sources of every format."""

import time

import pytest

from pipeline.sources import list_members
from schemas.errors import SourceError, UsageError
from tests.pipeline.sources.written import (
    write_folder,
)


def test_one_picture_is_no_source(tmp_path):
    write_folder(tmp_path, {"a.jpg": b"x"})
    with pytest.raises(SourceError, match="is one picture; give the folder"):
        list_members(str(tmp_path / "a.jpg"))


def test_an_unknown_protocol_says_so():
    with pytest.raises(UsageError, match="nowhere"):
        list_members("nowhere://bucket/x")


def test_listing_is_fast(tmp_path):
    for i in range(3000):
        (tmp_path / f"{i:05d}.jpg").touch()
    started = time.perf_counter()
    assert len(list_members(str(tmp_path)).members) == 3000
    assert time.perf_counter() - started < 3, "a thousand files a second is far too slow"
