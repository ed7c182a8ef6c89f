"""A source is one file of `pipeline/sources/`: CONTRIBUTING.md's own, and one with containers."""

import hashlib
import os
import re
import sys
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests import warm
from tests.hostile import encoded, scene
from tests.seams.house import ROOT, House, build

ZIPS = '''"""Pictures in zip files."""

import zipfile

from pipeline.sources.base import Format
from pipeline.sources.paths import suffix_of
from pipeline.sources.request import require_unique
from schemas.members import Member


class Zips(Format):
    """Pictures in zip files."""

    name = "zip files"
    expected = "a .zip of pictures"
    suffixes = frozenset([".zip"])
    container = "zip"

    def members(self, files, request):
        """List every name in each zip."""
        found = []
        for file in files:
            with zipfile.ZipFile(file.uri) as opened:
                for info in opened.infolist():
                    key = f"{file.name}!{info.filename}"
                    found.append(Member(key, file.uri, f"{info.CRC}-{info.file_size}"))
        require_unique(found)
        return sorted(found, key=lambda member: member.key)

    def holds(self, uri):
        """Say whether a uri is of a zip."""
        return suffix_of(uri) == ".zip"

    def read(self, member, shelf):
        """Return the bytes under the member's name."""
        with shelf.held(member.uri, zipfile.ZipFile) as opened:
            return opened.read(member.key.partition("!")[2])


FORMAT = Zips()
'''


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Return the copy with the file that CONTRIBUTING.md shows, and one for zips."""
    found = build(tmp_path_factory.mktemp("house"))
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    said = re.search(r"`pipeline/sources/text_paths\.py`.*?```python\n(.*?)```", page, re.S)
    assert said is not None
    found.add("pipeline/sources/text_paths.py", said[1])
    found.add("pipeline/sources/zips.py", ZIPS)
    return found


FILES = {f"{i}.png": encoded(scene(seed=i), "PNG") for i in range(6)}
REREAD = """
import hashlib, sys
from pipeline.sources import list_members
from pipeline.sources.reader import Reader
with Reader() as reader:
    for m in list_members(sys.argv[1]).members:
        again = reader.reread(m.key, m.uri, m.fingerprint)
        assert again == reader.read(m)
        print(m.key, hashlib.sha256(again).hexdigest())
"""


def test_scan_and_nearest_know_a_listing(house: House, tmp_path: Path, tiny_config: Path) -> None:
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    source = tmp_path / "paths.txt"
    source.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*FILES, ""]).encode())
    root = tmp_path / "w"
    common = ("--warehouse", root, "--scan", "s")
    done = house.run(
        *("scan", source, *common, "--model", tiny_config, "--pretrained", "none", "--workers", 0)
    )
    assert done.returncode == 0, done.stderr
    (images,) = root.glob("scans/s/shards/*/images.parquet")
    assert pq.read_table(images)["key"].to_pylist() == sorted(FILES)
    sheet = tmp_path / "sheet.png"
    shown = house.run("nearest", "3.png", *common, "--head", "L2H1", "-k", 3, "--png", sheet)
    assert shown.returncode == 0, shown.stderr
    with Image.open(sheet) as drawn:
        # pictures, not the grey tiles of those that cannot be read again
        assert len(drawn.convert("RGB").getcolors(1 << 24) or []) > 2000


def test_a_container_is_read_and_read_again(house: House, tmp_path: Path) -> None:
    source = tmp_path / "pictures.zip"
    with zipfile.ZipFile(source, "w") as out:
        for name, data in FILES.items():
            out.writestr(name, data)
    done = warm.run(
        [sys.executable, "-c", REREAD, source],
        cwd=house.root,
        env={**os.environ, "PYTHONPATH": str(house.root)},
        text=True,
    )
    assert done.returncode == 0, done.stderr
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()}
    assert done.stdout.splitlines() == [f"pictures.zip!{n} {d}" for n, d in digests.items()]
