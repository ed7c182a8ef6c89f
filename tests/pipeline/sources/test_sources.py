"""Sources: each kind lists the same pictures, in one order, and its reader returns their bytes."""

import io
import json
import os
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile import encoded, hostile_pictures, scene

from pipeline.pictures.decode import Rejected
from pipeline.sources import list_members
from pipeline.sources.reader import Reader
from pipeline.sources.tree import expand_braces
from schemas.errors import DuplicateKey, SourceError, UsageError

PICTURES = {f"{c}/{i}.jpg": encoded(scene(seed=i), "JPEG") for i in range(3) for c in "ab"}


def write_folder(root: Path, files: dict[str, bytes] = PICTURES) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def read_all(source: str | Path, **options: str) -> dict[str, bytes]:
    with Reader() as reader:
        return {m.key: reader.read(m) for m in list_members(str(source), **options).members}


@pytest.fixture
def memory() -> Iterator[str]:
    """The root of fsspec's memory file system, empty."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    yield "memory://box"
    fs.store.clear()


# folders


def test_folder_keys_are_relative_paths_and_sorted(tmp_path):
    write_folder(tmp_path, PICTURES | {"readme.txt": b"x", ".hidden/a.jpg": b"", "a/.b.jpg": b""})
    listing = list_members(str(tmp_path), labels="folder")
    assert [m.key for m in listing.members] == sorted(PICTURES)
    assert [m.label for m in listing.members] == ["a"] * 3 + ["b"] * 3
    assert (listing.kind, listing.passed_over[".txt"]) == ("folder of pictures", 1)
    assert read_all(tmp_path) == PICTURES
    assert list_members(str(tmp_path)).members[0].label is None


@pytest.mark.parametrize("form", ["{}", "{}/", "file://{}", "{}/../{name}", "{}/*/*.jpg"])
def test_a_folder_may_be_written_in_many_ways(tmp_path, form):
    root = write_folder(tmp_path / "pics")
    assert read_all(form.format(root, name="pics")) == PICTURES


def test_relative_sources_and_odd_folder_names(tmp_path, monkeypatch):
    root = write_folder(tmp_path / "odd [1] {a,b} %41 'q'")
    monkeypatch.chdir(tmp_path)
    assert read_all(root.name) == read_all(root) == PICTURES
    assert list_members(root.name).members == list_members(str(root)).members


def test_names_that_are_not_utf8_are_listed_and_read(tmp_path):
    data = encoded(scene(), "JPEG")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 %41.jpg")).write_bytes(data)
    (tmp_path / "naïve 猫.JPEG").write_bytes(data)
    listing = list_members(str(tmp_path))
    assert [m.key for m in listing.members] == ["caf\\xe9 %41.jpg", "naïve 猫.JPEG"]
    for member in listing.members:
        assert (member.key + member.uri).encode()
    assert set(read_all(tmp_path).values()) == {data}


def test_links_are_followed_but_not_in_circles(tmp_path):
    root = write_folder(tmp_path / "root")
    elsewhere = write_folder(tmp_path / "elsewhere", {"z.png": b"z"})
    (root / "linked").symlink_to(elsewhere)
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "same.jpg").symlink_to(root / "b" / "0.jpg")
    keys = {m.key for m in list_members(str(root)).members}
    assert keys == set(PICTURES) | {"linked/z.png", "a/same.jpg"}


def test_what_cannot_be_read_is_listed_and_rejected(tmp_path):
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "folder.jpg" / "in.jpg").write_bytes(b"x")
    listing = list_members(str(tmp_path))
    assert [m.key for m in listing.members] == ["folder.jpg/in.jpg", "gone.jpg", "pipe.jpg"]
    reasons = {}
    for member in listing.members[1:]:
        with pytest.raises(Rejected) as caught:
            Reader().read(member)
        reasons[member.key] = (caught.value.stage, caught.value.reason)
    assert reasons == {
        "gone.jpg": ("read", "no such file"),
        "pipe.jpg": ("read", "it is not a regular file"),
    }


def test_hostile_folder_is_listed_whole(tmp_path):
    expected = hostile_pictures(tmp_path / "hostile")
    assert {m.key for m in list_members(str(tmp_path / "hostile")).members} == set(expected)


def test_fingerprints_follow_bytes_and_nothing_else(tmp_path):
    root = write_folder(tmp_path)
    before = {m.key: m.fingerprint for m in list_members(str(root)).members}
    assert before == {m.key: m.fingerprint for m in list_members(str(root)).members}
    (root / "a/0.jpg").write_bytes(b"other")
    after = {m.key: m.fingerprint for m in list_members(str(root)).members}
    assert {key for key in after if after[key] != before[key]} == {"a/0.jpg"}


def test_remote_folder(memory):
    fs = fsspec.filesystem("memory")
    for name, data in (PICTURES | {".x/0.jpg": b"", "note.txt": b""}).items():
        fs.pipe(f"{memory}/{name}", data)
    listing = list_members(memory, labels="folder")
    assert [(m.key, m.label) for m in listing.members] == [(k, k[0]) for k in sorted(PICTURES)]
    assert read_all(memory) == PICTURES
    first = listing.members[0]
    fs.rm(f"{memory}/a/0.jpg")
    with pytest.raises(Rejected, match="no such file"):
        Reader().read(first)


@pytest.mark.parametrize(
    ("make", "options", "error", "says"),
    [
        (lambda d: None, {}, SourceError, "it is empty"),
        (lambda d: (d / "a.txt").write_text(""), {}, SourceError, r"1 file .*1 \.txt.*expected"),
        (lambda d: (d / "a.tgz").write_text(""), {}, SourceError, "compressed tars"),
        (lambda d: (d / "a.jpg").write_text(""), {"labels": "x"}, UsageError, "has no columns"),
        (lambda d: (d / "a.jpg").write_text(""), {"root": "x"}, UsageError, "leave it out"),
        (lambda d: d.rmdir(), {}, SourceError, "no such file or folder"),
    ],
)
def test_folders_that_cannot_serve_say_why(tmp_path, make, options, error, says):
    folder = tmp_path / "pics"
    folder.mkdir()
    make(folder)
    with pytest.raises(error, match=says) as caught:
        list_members(str(folder), **options)
    assert "\n" not in str(caught.value)


# listings


def listing_rows() -> list[dict[str, object]]:
    return [
        {"path": key, "place": f"p{i}", "n": i, "share": i / 4, "ok": i % 2 == 0, "zip": f"00{i}"}
        for i, key in enumerate(sorted(PICTURES))
    ]


def write_listing(path: Path, rows: list[dict[str, object]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        sep = "\t" if path.suffix == ".tsv" else ","
        lines = [sep.join(rows[0])] + [sep.join(str(v) for v in row.values()) for row in rows]
        path.write_bytes(b"\xef\xbb\xbf" + ("\r\n".join(lines) + "\r\n").encode())
    return path


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_listings_of_all_formats_agree(tmp_path, suffix):
    write_folder(tmp_path)
    path = write_listing(tmp_path / f"list.{suffix}", listing_rows())
    listing = list_members(str(path), labels="place")
    assert [m.key for m in listing.members] == sorted(PICTURES)
    assert [m.label for m in listing.members] == [f"p{i}" for i in range(6)]
    wanted = {"n": 3, "share": 0.75, "ok": False, "zip": "003"}
    assert json.loads(listing.members[3].metadata) == wanted
    assert listing.members[3].metadata == '{"n":3,"ok":false,"share":0.75,"zip":"003"}'
    assert read_all(path) == PICTURES
    as_text = list_members(str(path), labels="zip").members[3]
    assert as_text.label == "003"


def test_paths_start_from_the_listings_folder_or_root(tmp_path):
    root = write_folder(tmp_path / "pics")
    other = tmp_path / "lists"
    other.mkdir()
    rows = [{"img_filename": "a/0.jpg"}, {"img_filename": f"{root}/b/1.jpg"}]
    rows.append({"img_filename": "../pics/a/2.jpg"})
    path = write_listing(other / "l.csv", rows)
    found = list_members(str(path), root=str(root), labels="folder").members
    assert {m.key for m in found} == {row["img_filename"] for row in rows}
    assert read_all(path, root=str(root))["a/0.jpg"] == PICTURES["a/0.jpg"]
    here = {m.key: m.fingerprint for m in list_members(str(path)).members}
    assert here["a/0.jpg"] == "missing"
    assert here["../pics/a/2.jpg"] != "missing"


def test_missing_files_and_folders_become_rejects(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    path = write_listing(tmp_path / "l.jsonl", [{"file": "folder.jpg"}, {"file": "no\0.jpg"}])
    for member in list_members(str(path)).members:
        with pytest.raises(Rejected) as caught:
            Reader().read(member)
        assert caught.value.stage == "read"


def test_odd_values_become_json(tmp_path):
    rows = [{"path": "a", "x": float("nan"), "y": [1, {"z": None}], "w": "lone \ud800"}]
    member = list_members(str(write_listing(tmp_path / "l.jsonl", rows))).members[0]
    assert json.loads(member.metadata) == {"x": None, "y": [1, {"z": None}], "w": "lone \\ud800"}
    assert member.metadata.encode()
    (tmp_path / "l.csv").write_text('path,x,n,note\n"a,b.jpg",NaN,,"two\nlines"\nc.jpg,2,,\n')
    found = [json.loads(m.metadata) for m in list_members(str(tmp_path / "l.csv")).members]
    assert found == [
        {"x": None, "n": None, "note": "two\nlines"},
        {"x": 2.0, "n": None, "note": None},
    ]


def test_a_pandas_table_with_dates_and_bytes_less_columns(tmp_path):
    table = pa.table(
        {
            "path": ["a.jpg"],
            "day": pa.array([0], pa.date32()),
            "__index_level_0__": [5],
            "tags": [["x", "y"]],
        }
    )
    pq.write_table(table, tmp_path / "l.parquet")
    member = list_members(str(tmp_path / "l.parquet")).members[0]
    assert json.loads(member.metadata) == {"day": "1970-01-01", "tags": ["x", "y"]}


def test_a_compressed_listing_and_a_remote_one(tmp_path, memory):
    import gzip

    fs = fsspec.filesystem("memory")
    fs.pipe(f"{memory}/l.csv.gz", gzip.compress(b"url,k\nmemory://box/x.jpg,1\ny.jpg,2\n"))
    fs.pipe(f"{memory}/x.jpg", b"xx")
    fs.pipe(f"{memory}/y.jpg", b"yy")
    assert read_all(f"{memory}/l.csv.gz") == {"memory://box/x.jpg": b"xx", "y.jpg": b"yy"}


@pytest.mark.parametrize(
    ("text", "options", "error", "says"),
    [
        ("", {}, SourceError, "no header"),
        ("path\n", {}, SourceError, "no rows"),
        ("path,path\na,b\n", {}, SourceError, "two columns of one name"),
        ("path,n\na.jpg\n", {}, SourceError, "Expected 2 columns, got 1"),
        ("path,n\n,1\n", {}, SourceError, "row 1: no path"),
        ("a,b\n1,2\n", {}, UsageError, r"--path-column \(columns: a, b\)"),
        ("path,file\n1,2\n", {}, UsageError, "could be path or file"),
        ("path\na\n", {"path_column": "p"}, UsageError, "--path-column p: .*columns path"),
        ("path\na\n", {"labels": "class"}, UsageError, "--labels class: .*columns path"),
        ("path\nx\ny\nx\n", {}, DuplicateKey, r"'x' occurs 2 times \(l.csv row 1, l.csv row 3\)"),
    ],
)
def test_listings_that_cannot_serve_say_why(tmp_path, text, options, error, says):
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(error, match=says) as caught:
        list_members(str(tmp_path / "l.csv"), **options)
    assert "\n" not in str(caught.value)


def test_json_lines_that_are_none_say_where(tmp_path):
    (tmp_path / "l.jsonl").write_text('{"path": "a"}\n\nnot json\n')
    with pytest.raises(SourceError, match="line 3 is not JSON"):
        list_members(str(tmp_path / "l.jsonl"))
    (tmp_path / "l.jsonl").write_text("[1]\n")
    with pytest.raises(SourceError, match="expected a JSON object"):
        list_members(str(tmp_path / "l.jsonl"))


# webdataset


def samples(first: int, count: int) -> dict[str, bytes]:
    files = {}
    for i in range(first, first + count):
        files[f"c{i % 2}/{i:04d}.jpg"] = encoded(scene(seed=i), "JPEG")
        files[f"c{i % 2}/{i:04d}.json"] = json.dumps({"n": i, "place": f"p{i}"}).encode()
        files[f"c{i % 2}/{i:04d}.cls"] = str(i % 3).encode()
        files[f"c{i % 2}/{i:04d}.txt"] = f"picture {i}".encode()
    return files


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    """A folder of three tars of four samples each."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for i in range(3):
        write_tar(folder / f"{i:03d}.tar", samples(4 * i, 4))
    (folder / "sizes.json").write_text("{}")
    return folder


def test_tars_by_folder_braces_and_glob_agree(tars):
    whole = list_members(str(tars), labels="cls")
    assert whole.kind == "webdataset tars"
    assert list_members(f"{tars}/{{000..002}}.tar", labels="cls").members == whole.members
    assert list_members(f"{tars}/*.tar", labels="cls").members == whole.members
    assert list_members(f"{tars}/{{000,001,002}}.tar", labels="cls").members == whole.members
    assert whole.members[0].key == "000.tar!c0/0000.jpg"
    assert [m.key for m in whole.members] == sorted(m.key for m in whole.members)
    one = list_members(f"{tars}/001.tar").members
    assert [m.key for m in one] == [m.key for m in whole.members if m.key.startswith("001")]


def test_tar_members_are_read_with_labels_and_metadata(tars):
    everything = {k: v for i in range(3) for k, v in samples(4 * i, 4).items()}
    for key, data in read_all(tars).items():
        assert data == everything[key.split("!")[1]]
    by = {
        labels: list_members(str(tars), labels=labels).members[2]
        for labels in ("cls", "place", "folder")
    }
    assert {labels: m.label for labels, m in by.items()} == {
        "cls": "1",
        "place": "p1",
        "folder": "c1",
    }
    assert json.loads(by["cls"].metadata) == {"n": 1, "place": "p1", "caption": "picture 1"}
    with pytest.raises(UsageError, match="columns caption, cls, n, place"):
        list_members(str(tars), labels="class")


def test_appending_to_a_tar_changes_no_other_picture(tars):
    before = {m.key: m for m in list_members(str(tars)).members}
    write_tar(tars / "001.tar", samples(100, 2), mode="a")
    after = {m.key: m for m in list_members(str(tars)).members}
    assert {key: after[key] for key in before} == before
    assert set(after) - set(before) == {"001.tar!c0/0100.jpg", "001.tar!c1/0101.jpg"}


def test_a_damaged_tar_gives_what_came_before_and_one_reject(tars):
    whole = (tars / "001.tar").read_bytes()
    (tars / "001.tar").write_bytes(whole[: len(whole) // 2])
    (tars / "002.tar").write_text("<html>")
    members = list_members(str(tars)).members
    assert sum(m.key.startswith("000.tar!") for m in members) == 4
    assert 0 < sum(m.key.startswith("001.tar!") for m in members) < 4
    for damaged in (m for m in members if "!" not in m.key):
        with pytest.raises(Rejected, match="the tar is damaged: ") as caught:
            Reader().read(damaged)
        assert caught.value.stage == "read"
    assert {m.key for m in members if "!" not in m.key} == {"001.tar", "002.tar"}


def test_a_tar_that_shrank_after_listing_is_rejected(tars):
    last = list_members(str(tars / "001.tar")).members[-1]
    with (tars / "001.tar").open("r+b") as file:
        file.truncate(last.offset + 10)
    with pytest.raises(Rejected, match="ends early: 10 of"):
        Reader().read(last)


def test_duplicate_names_in_a_tar_are_refused(tmp_path):
    write_tar(tmp_path / "x.tar", {"a.jpg": b"1"})
    write_tar(tmp_path / "x.tar", {"a.jpg": b"2"}, mode="a")
    with pytest.raises(DuplicateKey, match=r"'x\.tar!a\.jpg' occurs 2 times"):
        list_members(str(tmp_path / "x.tar"))


def test_a_missing_shard_is_an_error(tars):
    with pytest.raises(SourceError, match=r"no such file: .*003\.tar"):
        list_members(f"{tars}/{{000..003}}.tar")
    with pytest.raises(SourceError, match="no file matches"):
        list_members(f"{tars}/*.tarr")


def test_remote_tars(memory):
    fs = fsspec.filesystem("memory")
    path = write_tar_bytes(samples(0, 3))
    fs.pipe(f"{memory}/000.tar", path)
    fs.pipe(f"{memory}/001.tar", path)
    found = read_all(f"{memory}/{{000..001}}.tar")
    assert found == read_all(memory) == read_all(f"{memory}/*.tar")
    assert found["001.tar!c1/0001.jpg"] == samples(1, 1)["c1/0001.jpg"]


def write_tar_bytes(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize(
    ("pattern", "expanded"),
    [
        ("a", ["a"]),
        ("{8..11}", ["8", "9", "10", "11"]),
        ("{08..11}", ["08", "09", "10", "11"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{a,b}/{0..1}.tar", ["a/0.tar", "a/1.tar", "b/0.tar", "b/1.tar"]),
        ("{x}{a,b}", ["{x}a", "{x}b"]),
    ],
)
def test_braces_expand_as_in_bash(pattern, expanded):
    assert expand_braces(pattern) == expanded


# Parquet with image bytes


def image_table(first: int, count: int, *, struct: bool = True) -> pa.Table:
    data = [encoded(scene(seed=i), "JPEG") for i in range(first, first + count)]
    images = [{"bytes": d, "path": f"{i}.jpg"} for i, d in enumerate(data)] if struct else data
    features = {
        "image": {"_type": "Image"},
        "label": {"names": ["cat", "dog"], "_type": "ClassLabel"},
    }
    table = pa.table(
        {
            "image": images,
            "label": [i % 2 for i in range(count)],
            "caption": [f"row {i}" for i in range(count)],
        }
    )
    info = json.dumps({"info": {"features": features}})
    return table.replace_schema_metadata({"huggingface": info})


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


# all


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
