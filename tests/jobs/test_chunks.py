"""Chunks of a data set: each picture in one file, also when one of them kills its worker."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ray import cloudpickle

from jobs.steps.chunks import Chunk, do_missing, split
from jobs.workers import map_statistics, segment
from pipeline.maps.pooled import Pooled
from schemas.members import Member
from warehouse.results.files import read_provenance

# the tests are no package that workers can import
cloudpickle.register_pickle_by_value(sys.modules[__name__])

OPTIONS = SimpleNamespace(ray_address=None, workers=1, gpus_per_worker=0)


class Numbers:
    """A worker that writes its pictures' numbers; its process is killed by number 7."""

    def __init__(self, cpus: int) -> None:
        self.done = 0

    def __call__(self, task: Chunk) -> Path:
        if 7 in range(task.start, task.stop):
            os._exit(1)
        return write(task, "")


def write(task: Chunk, reason: str) -> Path:
    numbers = list(range(task.start, task.stop))
    task.path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"n": numbers, "reason": [reason] * len(numbers)}), task.path)
    return task.path


@pytest.mark.usefixtures("ray_session")
def test_every_picture_is_in_one_file_and_what_kills_a_worker_is_a_reject(tmp_path: Path) -> None:
    """The files in order hold 0, 1, 2 ... each once; a rerun finds all of them."""
    chunks = split(10, 5, tmp_path / "parts")
    files = do_missing("Counting", chunks, OPTIONS, Numbers, write)  # type: ignore[arg-type]
    rows = pa.concat_tables([pq.read_table(path) for path in files]).to_pylist()
    assert [row["n"] for row in rows] == list(range(10))
    assert [row["n"] for row in rows if row["reason"]] == [7]
    assert "lost 3 times" in rows[7]["reason"]
    assert len(files) > 2
    before = {path: path.stat().st_mtime_ns for path in files}
    again = do_missing("Counting", chunks, OPTIONS, Numbers, write)  # type: ignore[arg-type]
    assert {path: path.stat().st_mtime_ns for path in again} == before


def test_a_chunk_with_a_piece_missing_is_not_done(tmp_path: Path) -> None:
    (chunk,) = split(8, 8, tmp_path)
    for start, stop in ((0, 4), (6, 8)):
        write(chunk.piece(start, stop), "")
    assert chunk.done() == []
    write(chunk.piece(4, 6).piece(4, 5), "")
    write(chunk.piece(5, 6), "")
    assert len(chunk.done()) == 4


def test_pieces_of_listed_pictures_have_their_members_and_rejects_add_nothing(
    tmp_path: Path,
) -> None:
    members = tuple(Member(f"{i}.png", "u", "f") for i in range(4, 9))
    whole = map_statistics.Pictures(4, 9, tmp_path / "part-00000004.parquet", members)
    piece = whole.piece(6, 8)
    assert [m.key for m in piece.members] == ["6.png", "7.png"]
    path = map_statistics.reject_chunk(None, piece, "it died")
    pooled = Pooled()
    pooled.merge(Pooled.from_table(pq.read_table(path)))
    assert not pooled.groups
    assert read_provenance(path)["rejects"] == [["6.png", "it died"], ["7.png", "it died"]]
    data = SimpleNamespace(keys=[f"{i}.png" for i in range(9)])
    path = segment.reject_chunk(data, piece, "it died")  # type: ignore[arg-type]
    table = pq.read_table(path)
    assert table.schema.equals(segment.SCORES)
    assert table["key"].to_pylist() == ["6.png", "7.png"]
