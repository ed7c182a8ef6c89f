"""A source that holds what the program wrote: a listing passes over it, and over nothing else."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.sources import list_members
from schemas.errors import SourceError
from schemas.names import SEGMENTATION
from schemas.written import (
    ASSETS,
    DATABASE,
    DRAWN,
    EXAMPLES,
    LEFT_OUT,
    PARTS,
    POINTER,
    POOL,
    POOLS,
    SCAN_RECORD,
    SCANS,
    SCORES_CSV,
    SCORES_FILE,
    SEGMENT,
    VERSIONS,
)
from tests.pipeline.sources.written import PICTURES, image_table, read_all, write_folder

PNG = next(iter(PICTURES.values()))
ROWS = pa.table({"path": ["a.jpg"], "count": [1]})
OUTPUTS = {
    "a scan": {
        f"{SCANS}/one/{SCAN_RECORD}": b"{}",
        f"{SCANS}/one/shards/ab/images.parquet": ROWS,
        f"{SCANS}/one/rejects.parquet": ROWS,
        f"{SEGMENTATION}/scores.parquet": ROWS,
    },
    "a pool": {f"{POOLS}/world/{POOL}": ROWS, f"{POOLS}/world/embeddings-ab-fp32.parquet": ROWS},
    "a published version": {DATABASE: b"x", f"{VERSIONS}/atlas-000001.duckdb": b"x"},
    "scores of maps": {
        SEGMENT: b"{}",
        SCORES_FILE: ROWS,
        SCORES_CSV: b"a,b\n",
        EXAMPLES: PNG,
        f"{PARTS}/0001.parquet": ROWS,
    },
    "exported pages": {
        LEFT_OUT: b"x",
        f"{DRAWN}/thumb/scan-1.jpg": PNG,
        f"{ASSETS}/icon.png": PNG,
    },
}


def write(folder: Path, files: dict[str, bytes | pa.Table]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            pq.write_table(content, path)


PASSED_OVER = {
    "a scan": {f"{SCANS}/one", SEGMENTATION},
    "a pool": {f"{POOLS}/world"},
    "a published version": {DATABASE, VERSIONS},
    "scores of maps": {SEGMENT, SCORES_FILE, SCORES_CSV, EXAMPLES, PARTS},
    "exported pages": {LEFT_OUT, DRAWN, ASSETS},
}


@pytest.mark.parametrize("below", ["", "w/", "deep/er/[w]*/"])
@pytest.mark.parametrize("output", OUTPUTS)
def test_pictures_around_what_was_written_are_all_and_only_those(tmp_path, below, output):
    write_folder(tmp_path)
    before = read_all(tmp_path)
    write(tmp_path / below, OUTPUTS[output])
    assert read_all(tmp_path) == before == PICTURES
    listing = list_members(str(tmp_path))
    written = sorted(below + part for part in PASSED_OVER[output])
    assert f"passed over what HeadAtlas wrote: {', '.join(written)}" in listing.said
    assert not listing.passed_over


def test_a_persons_folders_of_the_same_names_are_listed(tmp_path):
    """Also beside what the program wrote into them."""
    parts = (SCANS, POOLS, "runs", VERSIONS, PARTS, DRAWN, "shards", SEGMENTATION)
    files = {f"{part}/x/{i}.jpg": PNG for i, part in enumerate(parts)}
    write_folder(tmp_path, files)
    assert read_all(tmp_path) == files
    assert list_members(str(tmp_path)).said == []
    below = {name: data for name, data in files.items() if name.startswith((SCANS, POOLS))}
    write_folder(tmp_path / "data", below)
    write(tmp_path / "data", OUTPUTS["a scan"] | OUTPUTS["a pool"])
    assert read_all(tmp_path / "data") == below
    assert list(read_all(tmp_path / "data" / SCANS)) == ["x/0.jpg"]


def test_parquet_with_pictures_beside_a_warehouse(tmp_path):
    pq.write_table(image_table(0, 4), tmp_path / "rows.parquet")
    before = read_all(tmp_path)
    write(tmp_path / "w", OUTPUTS["a scan"] | OUTPUTS["a pool"])
    assert read_all(tmp_path) == before
    assert read_all(f"{tmp_path}/**/*.parquet") == before
    inside = list_members(f"{tmp_path}/w/scans/one/**/images.parquet", root=str(tmp_path))
    assert [member.key for member in inside.members] == ["a.jpg"], "asked for by name"


def test_a_pushed_warehouse_beside_remote_pictures(memory):
    import fsspec

    fs = fsspec.filesystem("memory")
    for name, data in PICTURES.items():
        fs.pipe(f"/box/{name}", data)
    before = read_all(memory)
    for name in (POINTER, DATABASE, f"{VERSIONS}/1.duckdb", f"{SCANS}/one/shards/a/images.parquet"):
        fs.pipe(f"/box/w/{name}", b"x")
    assert read_all(memory) == before == PICTURES
    assert list_members(memory).said == [
        "passed over what HeadAtlas wrote: w/atlas, w/atlas.duckdb, w/atlas.json, w/scans"
    ]


def test_nothing_but_what_was_written(tmp_path):
    write(tmp_path, OUTPUTS["a scan"])
    with pytest.raises(
        SourceError, match="it holds scans/one, segmentation alone, which HeadAtlas wrote"
    ):
        list_members(str(tmp_path))
