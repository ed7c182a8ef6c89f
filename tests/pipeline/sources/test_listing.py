"""What holds for sources of every format."""

import subprocess
import sys
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
    started = time.process_time()
    assert len(list_members(str(tmp_path)).members) == 3000
    assert time.process_time() - started < 3, "a thousand files a second is far too slow"


WRONG = """
import sys, time
started = time.process_time()
from pipeline.sources import list_members
from pipeline.sources.reader import Reader
for options in ({}, {"path_column": "p"}, {"labels": "class"}, {"labels": "n", "root": "x"}):
    try:
        list_members(sys.argv[1], **options)
    except Exception as error:
        print(type(error).__name__, error)
heavy = {"torch", "torchvision", "open_clip", "ray", "duckdb", "scipy"} & sys.modules.keys()
assert not heavy, heavy
assert time.process_time() - started < 2
"""


def test_what_is_wrong_with_a_source_is_known_without_the_model(tmp_path):
    (tmp_path / "l.csv").write_text("path,n\na.jpg,1\n")
    done = subprocess.run(
        [sys.executable, "-c", WRONG, str(tmp_path / "l.csv")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["UsageError"] * 2
