"""Stored pictures read again by what the warehouse keeps of them, and drawn."""

import base64
import io
import os
import re
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jobs.commands import nearest, scan
from jobs.commands.nearest import NearestConfig
from jobs.steps.neighbour_sheets import THUMBNAIL
from pipeline.pictures.decode import Rejected, decode
from pipeline.sources import list_members
from pipeline.sources.reader import Reader
from tests.conftest import scan_config
from tests.hostile import encoded, scene
from tests.pipeline.sources.written import image_table, write_folder, write_tar

KINDS = ("folder", "tar", "parquet", "column")
PICTURES = {f"{i:03d}.png": encoded(scene(seed=i), "PNG") for i in range(8)}


def write_source(folder: Path, kind: str) -> tuple[Path, dict[str, str]]:
    """Write a source with some pictures; return it with the options it is listed with."""
    if kind == "folder":
        return write_folder(folder / "pictures", PICTURES), {}
    if kind == "tar":
        # a long name has headers of its own before the picture's
        names = {f"{'d' * 120}/{name}": data for name, data in PICTURES.items()}
        return write_tar(folder / "x.tar", {**PICTURES, **names}), {}
    path = folder / "x.parquet"
    pq.write_table(image_table(0, 8), path, row_group_size=3)
    return path, {"path_column": "image"} if kind == "column" else {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_stored_picture_is_read_again(tmp_path: Path, kind: str) -> None:
    source, options = write_source(tmp_path, kind)
    with Reader() as reader:
        members = list_members(str(source), **options).members
        assert members
        for m in reversed(members):
            assert reader.reread(m.key, m.uri, m.fingerprint) == reader.read(m)


def test_a_remote_tar_is_read_again(tmp_path: Path) -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe("memory://again/x.tar", write_tar(tmp_path / "x.tar", PICTURES).read_bytes())
    with Reader() as reader:
        for m in list_members("memory://again/x.tar").members:
            found = reader.reread(m.key, m.uri, m.fingerprint)
            assert found == PICTURES[m.key.partition("!")[2]]
    fs.store.clear()


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_a_container_that_was_rewritten_gives_no_other_picture(tmp_path: Path, kind: str) -> None:
    source, _ = write_source(tmp_path, kind)
    first = list_members(str(source)).members[0]
    if kind == "tar":
        write_tar(source, {f"1{name[1:]}": data for name, data in reversed(PICTURES.items())})
    else:
        pq.write_table(image_table(50, 8), source)
        os.utime(source, ns=(1, 1))
    with Reader() as reader:
        with pytest.raises(Rejected, match="has changed since it was scanned"):
            reader.reread(first.key, first.uri, first.fingerprint)
        source.unlink()
        with pytest.raises(Rejected):
            reader.reread(first.key, first.uri, first.fingerprint)


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_sheets_show_pictures_from_inside_containers(
    tmp_path: Path, tiny_config: Path, kind: str
) -> None:
    source, _ = write_source(tmp_path, kind)
    root = tmp_path / "w"
    options = {"source": str(source), "path_column": None, "labels": None}
    scan.run(scan_config(source, tiny_config, root, **options))
    members = {m.key: m for m in list_members(str(source)).members}
    png, page = tmp_path / "sheet.png", tmp_path / "page.html"
    asked = {"query": min(members), "head": ["L2H1"], "k": 4, "png": png, "html": page}
    done = nearest.run(NearestConfig.checked({"warehouse": root, **asked}))
    drawn = re.findall(r"base64,([^\"]+)", page.read_text())
    assert len(drawn) == 1 + len(done.neighbours) == 5
    assert done.stored is not None
    with Reader() as reader:
        for text, found in zip(drawn, (done.stored, *done.neighbours), strict=True):
            expected = decode(reader.read(members[found.key]))
            expected.thumbnail((THUMBNAIL, THUMBNAIL))
            with Image.open(io.BytesIO(base64.b64decode(text))) as shown:
                assert shown.convert("RGB").tobytes() == expected.tobytes()
    with Image.open(png) as sheet:
        assert len(sheet.getcolors(1 << 24) or []) > 100
