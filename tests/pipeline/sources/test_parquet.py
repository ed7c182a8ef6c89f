"""Parquet with image bytes: rows in any order, columns, damage."""

import json

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.pictures.decode import Rejected
from pipeline.sources import list_members
from pipeline.sources.reader import Reader
from schemas.errors import SourceError, UsageError
from tests.hostile import encoded, scene
from tests.pipeline.sources.written import image_table, read_all, write_folder


@pytest.mark.parametrize("struct", [True, False])
def test_parquet_rows_are_read_in_any_order(tmp_path, struct):
    for i in range(2):
        pq.write_table(
            image_table(40 * i, 40, struct=struct), tmp_path / f"{i}.parquet", row_group_size=16
        )
    listing = list_members(str(tmp_path), labels="label")
    assert listing.kind == "Parquet with image bytes"
    assert [m.key for m in listing.members[:11]] == [f"0.parquet#{i}" for i in range(11)]
    assert [m.label for m in listing.members[:3]] == ["cat", "dog", "cat"]
    assert json.loads(listing.members[5].metadata) == {"caption": "row 5"}
    wanted = [encoded(scene(seed=i), "JPEG") for i in range(80)]
    orders = [range(80), range(79, -1, -1), np.random.default_rng(0).permutation(80).tolist()]
    with Reader() as reader:
        for order in orders:
            assert all(reader.read(listing.members[i]) == wanted[i] for i in order)


@pytest.mark.parametrize(
    "kind",
    [
        pa.binary_view(),
        pa.large_binary(),
        pa.struct([("bytes", pa.binary_view()), ("path", pa.string_view())]),
    ],
    ids=str,
)
def test_pictures_are_found_in_every_type_of_bytes(tmp_path, kind):
    """Polars writes views, which were taken for a listing of paths."""
    data = [encoded(scene(seed=i), "JPEG") for i in range(2)]
    cells = [{"bytes": d, "path": "x"} for d in data] if pa.types.is_struct(kind) else data
    table = pa.table(
        {"image": pa.array(cells, kind), "kind": pa.array(["é", "b"], pa.string_view())}
    )
    pq.write_table(table, tmp_path / "x.parquet")
    members = list_members(str(tmp_path / "x.parquet"), labels="kind").members
    with Reader() as reader:
        assert [reader.read(m) for m in members] == data
    assert [m.label for m in members] == ["é", "b"]


def test_parquet_streams_a_row_group_larger_than_its_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.sources.parquet_bytes._BATCH_BYTES", 1 << 12)
    pq.write_table(image_table(0, 60), tmp_path / "x.parquet")
    members = list_members(str(tmp_path / "x.parquet")).members
    with Reader() as reader:
        assert len({reader.read(m) for m in members}) == 60
        assert reader.read(members[3]) == encoded(scene(seed=3), "JPEG")


def test_parquet_rows_without_bytes_and_vanished_files_are_rejected(tmp_path):
    rows = [{"image": {"bytes": None, "path": "a.jpg"}}, {"image": None}]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.Table.from_pylist(rows, pa.schema([("image", kind)]))
    pq.write_table(table, tmp_path / "x.parquet")
    members = list_members(str(tmp_path / "x.parquet")).members
    for member in members:
        with pytest.raises(Rejected, match="no image bytes"), Reader() as reader:
            reader.read(member)
    (tmp_path / "x.parquet").unlink()
    with pytest.raises(Rejected, match="no such file"):
        Reader().read(members[0])


def test_damage_inside_parquet_rejects_rows_and_no_more(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(image_table(0, 40), path, row_group_size=20, compression="zstd")
    members = list_members(str(path)).members
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    with path.open("r+b") as file:
        file.seek(column.data_page_offset)
        file.write(b"\xff" * 400)
    fates = []
    with Reader() as reader:
        for member in members:
            try:
                reader.read(member)
                fates.append("read")
            except Rejected as verdict:
                fates.append(verdict.stage + "!")
    assert fates == ["read!"] * 20 + ["read"] * 20


def test_the_image_column_is_chosen_or_asked_for(tmp_path):
    table = image_table(0, 3).append_column("raw", pa.array([b"1", b"2", b"3"]))
    pq.write_table(table, tmp_path / "x.parquet")
    path = str(tmp_path / "x.parquet")
    assert read_all(path)["x.parquet#1"] == encoded(scene(seed=1), "JPEG")
    assert read_all(path, path_column="raw")["x.parquet#1"] == b"2"
    two = pa.table({"one": [b"1"], "two": [b"2"]})
    pq.write_table(two, tmp_path / "y.parquet")
    with pytest.raises(UsageError, match=r"several columns of bytes \(one, two\)"):
        list_members(str(tmp_path / "y.parquet"))
    assert read_all(tmp_path / "y.parquet", path_column="two") == {"y.parquet#0": b"2"}


def test_parquet_that_cannot_serve_says_why(tmp_path):
    (tmp_path / "x.parquet").write_text("no parquet at all")
    with pytest.raises(SourceError, match="is not a whole Parquet file"):
        list_members(str(tmp_path / "x.parquet"))
    pq.write_table(image_table(0, 2), tmp_path / "x.parquet")
    with pytest.raises(UsageError, match="--labels folder"):
        list_members(str(tmp_path / "x.parquet"), labels="folder")
    with pytest.raises(UsageError, match="columns image, label, caption"):
        list_members(str(tmp_path / "x.parquet"), labels="klass")


def test_remote_parquet(memory):
    fs = fsspec.filesystem("memory")
    with fs.open(f"{memory}/x.parquet", "wb") as file:
        pq.write_table(image_table(0, 5), file)
    assert len(set(read_all(memory).values())) == 5


@pytest.mark.parametrize("kind", ["bytes", "listing"])
@pytest.mark.parametrize("damage", ["text", "half", "empty", "page", "first"])
def test_a_damaged_file_among_others_is_one_reject(tmp_path, kind, damage):
    write_folder(tmp_path / "pics")
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(3):
        table = pa.table({"path": [f"../pics/{c}/{i}.jpg" for c in "ab"], "n": [0, 1]})
        pq.write_table(image_table(4 * i, 4) if kind == "bytes" else table, folder / f"{i}.parquet")
    path = folder / ("0.parquet" if damage == "first" else "1.parquet")
    whole = path.read_bytes()
    broken = {"text": b"no parquet", "first": b"", "half": whole[: len(whole) // 2], "empty": b""}
    if damage == "page":
        column = pq.ParquetFile(path).metadata.row_group(0).column(1 if kind == "listing" else 2)
        at = column.dictionary_page_offset or column.data_page_offset
        broken["page"] = whole[:at] + b"\xff" * 40 + whole[at + 40 :]
    path.write_bytes(broken[damage])
    members = list_members(str(folder)).members
    fates = []
    with Reader() as reader:
        for m in members:
            try:
                reader.read(m)
                fates.append("read")
            except Rejected as verdict:
                fates.append(m.key)
                assert path.name in verdict.reason
    each = 4 if kind == "bytes" else 2
    assert sorted(fates) == [path.name] + ["read"] * 2 * each
