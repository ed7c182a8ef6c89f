"""Listings of each format agree, and say what is wrong with them."""

import json

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.pictures.decode import Rejected
from pipeline.sources import list_members
from pipeline.sources.reader import Reader
from schemas.errors import DuplicateKey, SourceError, UsageError
from tests.pipeline.sources.written import (
    PICTURES,
    listing_rows,
    read_all,
    write_folder,
    write_listing,
)


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


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
@pytest.mark.parametrize(
    ("rows", "line"),
    [
        (["a.jpg,1", 'b.jpg,"2', "c.jpg,3", "d.jpg,4"], 3),
        (["a.jpg,1", 'b.jpg,"2', "c.jpg,3", 'd.jpg,"4"'], 3),
        (['"a.jpg,1', "b.jpg,2"], 2),
        (["a.jpg,1", 'b.jpg,"2'], 3),
        (["a.jpg,1", 'b.jpg,"x', 'y"', 'c.jpg,"3', "d.jpg,4"], 5),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_quote_that_is_not_closed_is_an_error_with_its_line(tmp_path, suffix, rows, line, end):
    sep = "\t" if suffix == "tsv" else ","
    path = tmp_path / f"l.{suffix}"
    text = end.join(["path,n", *rows, ""]).replace(",", sep)
    path.write_bytes(text.encode())
    with pytest.raises(SourceError, match=rf"l\.{suffix} line {line}: a quote is opened"):
        list_members(str(path))


def test_quotes_that_are_closed_are_no_error(tmp_path):
    path = tmp_path / "l.csv"
    path.write_text('path,note\na.jpg,"two\nlines, and ""more"""\nb.jpg,5" wide\n"c.jpg",""\n')
    found = {m.key: json.loads(m.metadata)["note"] for m in list_members(str(path)).members}
    assert found == {"a.jpg": 'two\nlines, and "more"', "b.jpg": '5" wide', "c.jpg": None}


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_marks_and_line_ends_of_spreadsheets_change_nothing(tmp_path, mark, suffix):
    write_folder(tmp_path)
    path = write_listing(tmp_path / f"l.{suffix}", listing_rows())
    text = path.read_bytes().removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    wanted = list_members(str(path), labels="place").members
    for end in (b"\n", b"\r\n", b"\r"):
        path.write_bytes(mark + text.replace(b"\n", end))
        assert list_members(str(path), labels="place").members == wanted
    path.write_bytes(text.decode().encode("utf-16"))
    assert list_members(str(path), labels="place").members == wanted


def test_rows_that_cannot_be_used_are_one_reject_each(tmp_path):
    write_folder(tmp_path)
    deep = '{"path": "a/1.jpg", "x": ' + "[" * 100_000 + "]" * 100_000 + "}"
    nested = '{"path": "a/2.jpg", "x": ' + "[" * 300 + "]" * 300 + "}"
    odd = json.dumps({"path": "a/\ud800.jpg"})
    path = tmp_path / "l.jsonl"
    path.write_text("\n".join(['{"path": "a/0.jpg"}', deep, nested, odd, '{"path": "b/0.jpg"}']))
    fates = {}
    with Reader() as reader:
        for m in list_members(str(path)).members:
            assert (m.key + m.uri + m.fingerprint).encode()
            try:
                fates[m.key] = reader.read(m)
            except Rejected as verdict:
                fates[m.key] = verdict.reason
    assert fates == {
        "a/0.jpg": PICTURES["a/0.jpg"],
        "b/0.jpg": PICTURES["b/0.jpg"],
        "l.jsonl#2": "the file is damaged: line 2 is nested too deeply",
        "l.jsonl#3": "the file is damaged: row 3 is nested too deeply, more than 100 levels",
        "a/\\ud800.jpg": "no such file",
    }
