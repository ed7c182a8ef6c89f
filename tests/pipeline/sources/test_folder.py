"""Folders of pictures: keys, labels, links, odd names, what is passed over."""

import errno
import os
import re
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest

from pipeline.pictures.decode import Rejected
from pipeline.sources import list_members
from pipeline.sources.reader import Reader
from schemas.errors import SourceError, UsageError
from tests.hostile import encoded, hostile_pictures, scene
from tests.pipeline.sources.written import (
    PICTURES,
    image_table,
    read_all,
    write_folder,
    write_listing,
    write_tar,
)


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


def test_pictures_beside_another_format_are_refused_by_both_names(tmp_path):
    write_folder(tmp_path, {"README.md": b"x", "assets/teaser.png": b"x"})
    (tmp_path / "data").mkdir()
    pq.write_table(image_table(0, 3), tmp_path / "data" / "train-0.parquet")
    with pytest.raises(SourceError, match="holds") as caught:
        list_members(str(tmp_path))
    said = str(caught.value)
    for name in ("folder of pictures", "teaser.png", "Parquet with image bytes", "train-0.parquet"):
        assert name in said
    # each of the patterns that the message gives works
    patterns = re.findall(r"'([^']+)'", said)
    found = {m.key for p in patterns for m in list_members(p).members}
    assert found == {"assets/teaser.png", *(f"data/train-0.parquet#{i}" for i in range(3))}
    assert len(list_members(str(tmp_path / "data")).members) == 3
    write_tar(tmp_path / "assets" / "x.tar", PICTURES)
    with pytest.raises(SourceError, match=r"folder of pictures .* webdataset tars"):
        list_members(str(tmp_path / "assets"))


def test_what_is_passed_over_is_counted_by_suffix(tmp_path):
    others = ["a.jpg_large", "b.jpg_large", "c.jxl", "plain", "x/metadata.csv", ".git/HEAD"]
    write_folder(tmp_path, {"one.jpg": b"x"} | dict.fromkeys(others, b"x"))
    listing = list_members(str(tmp_path))
    counts = {".jpg_large": 2, ".jxl": 1, "without suffix": 1, ".csv": 1, "hidden": 1}
    assert listing.passed_over == counts
    assert listing.said == [
        "passed over 6: 2 .jpg_large, 1 .csv, 1 .jxl, 1 hidden, 1 without suffix"
    ]


SPLIT = ["train/cat/1.jpg", "val/dog/2.jpg", "val/cat/sub/3.jpg"]


@pytest.mark.parametrize("kind", ["folder", "csv", "tar"])
@pytest.mark.parametrize(
    ("names", "labels", "says"),
    [
        (SPLIT, ["cat", "cat", "dog"], "as cat in train/"),
        ([f"data/{n}" for n in SPLIT], ["cat", "cat", "dog"], "as cat in data/train/"),
        (["cat/train/1.jpg", "dog/val/2.jpg"], ["cat", "dog"], None),
        (["bus/1.jpg", "train/2.jpg", "top.jpg"], ["bus", None, "train"], None),
        (["train/1.jpg", "val/2.jpg"], ["train", "val"], "no folder below"),
    ],
)
def test_a_split_is_no_label(tmp_path, kind, names, labels, says):
    root = write_folder(tmp_path / "x", dict.fromkeys(names, b"x"))
    source = root
    if kind == "csv":
        source = write_listing(root / "l.csv", [{"path": name} for name in names])
    elif kind == "tar":
        source = write_tar(tmp_path / "x.tar", dict.fromkeys(names, b"x"))
    listing = list_members(str(source), labels="folder")
    by_key = sorted((m.key.rpartition("!")[2], m.label) for m in listing.members)
    assert sorted(str(label) for _, label in by_key) == sorted(map(str, labels))
    assert all(label in key.split("/") for key, label in by_key if label)
    assert says is None or any(says in line for line in listing.notes)


def test_splits_among_classes_are_refused(tmp_path):
    write_folder(tmp_path, dict.fromkeys([*SPLIT, "extra/1.jpg"], b"x"))
    with pytest.raises(UsageError, match="train and val are splits, extra is not"):
        list_members(str(tmp_path), labels="folder")


def test_a_file_system_that_is_away_for_a_moment_is_asked_again(tmp_path, monkeypatch):
    write_folder(tmp_path)
    member = list_members(str(tmp_path)).members[0]
    monkeypatch.setattr("pipeline.sources.plain.PAUSE", 0.0)
    real, asked = os.stat, []

    def stale(code: int, times: int):
        def stat(path, **options):
            if str(path) == member.uri:
                asked.append(path)
                if len(asked) <= times:
                    raise OSError(code, os.strerror(code))
            return real(path, **options)

        return stat

    for code, times, tries in ((errno.ESTALE, 2, 3), (errno.EIO, 9, 3), (errno.EACCES, 9, 1)):
        asked.clear()
        with monkeypatch.context() as patched, Reader() as reader:
            patched.setattr("pipeline.sources.plain.os.stat", stale(code, times))
            if times < tries:
                assert reader.read(member) == PICTURES[member.key]
            else:
                with pytest.raises(Rejected, match=os.strerror(code)):
                    reader.read(member)
        assert len(asked) == tries
