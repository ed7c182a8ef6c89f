"""Webdataset tars: members, sidecars, links, damage."""

import io
import json
import subprocess
import tarfile
from pathlib import Path

import fsspec
import pytest

from pipeline.pictures.decode import Rejected
from pipeline.sources import list_members
from pipeline.sources.reader import Reader
from pipeline.sources.tree import expand_braces
from schemas.errors import DuplicateKey, SourceError, UsageError
from tests.hostile import encoded, scene
from tests.pipeline.sources.written import PICTURES, read_all, samples, write_tar, write_tar_bytes


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


def frames(*names: str) -> dict[str, bytes]:
    """Return files by name: pictures, and sidecars that name their own file."""
    files = {}
    for name in names:
        data = json.dumps({"from": name}).encode() if name.endswith(".json") else name.encode()
        files[name] = encoded(scene(), "JPEG") if name.endswith((".jpg", ".png")) else data
    return files


def test_each_picture_takes_the_sidecars_of_its_own_stem(tmp_path):
    names = [f"clip_a/frame.{i:04d}.{kind}" for i in range(4) for kind in ("jpg", "cls", "json")]
    write_tar(tmp_path / "x.tar", frames(*names))
    for m in list_members(str(tmp_path), labels="cls").members:
        stem = m.key.partition("!")[2].removesuffix(".jpg")
        assert m.label == f"{stem}.cls"
        assert json.loads(m.metadata) == {"from": f"{stem}.json"}


@pytest.mark.parametrize(
    ("names", "of"),
    [
        (["a.jpg", "a.meta.json"], {"a.jpg": "a.meta.json"}),
        (["a.rgb.jpg", "a.json"], {"a.rgb.jpg": "a.json"}),
        (["a.b.jpg", "a.json", "a.b.json"], {"a.b.jpg": "a.b.json"}),
        (["a.b.jpg", "a.jpg", "a.json", "a.b.json"], {"a.b.jpg": "a.b.json", "a.jpg": "a.json"}),
        (["a.b.jpg", "a.c.json"], {"a.b.jpg": None}),
        (["v1.0/a.jpg", "v1.0/a.json"], {"v1.0/a.jpg": "v1.0/a.json"}),
    ],
)
def test_the_longest_common_stem_wins(tmp_path, names, of):
    write_tar(tmp_path / "x.tar", frames(*names))
    found = list_members(str(tmp_path))
    assert {
        m.key.partition("!")[2]: json.loads(m.metadata).get("from") for m in found.members
    } == of
    left = sum(name.endswith(".json") for name in names) - sum(v is not None for v in of.values())
    assert found.passed_over.total() == left


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["a.jpg", "a.x.json", "a.y.json"], r"a\.x\.json and a\.y\.json both fit a\.jpg"),
        (["a.left.jpg", "a.right.jpg", "a.txt"], r"a\.txt fits both a\.left\.jpg and a\.right"),
        (["a.jpg", "a.png", "a.cls"], r"a\.cls fits both a\.jpg and a\.png"),
    ],
)
def test_sidecars_that_fit_twice_are_refused_by_name(tmp_path, names, says):
    write_tar(tmp_path / "x.tar", frames(*names))
    with pytest.raises(SourceError, match=says):
        list_members(str(tmp_path))


def test_masks_beside_pictures_are_no_pictures(tmp_path):
    names = ["0.jpg", "0.seg.png", "1.jpg", "1.Depth.png", "2.mask.png", "0.npy", "frame.0001.jpg"]
    write_tar(tmp_path / "x.tar", frames(*names))
    found = list_members(str(tmp_path))
    assert [m.key for m in found.members] == ["x.tar!0.jpg", "x.tar!1.jpg", "x.tar!frame.0001.jpg"]
    wanted = {".seg.png": 1, ".depth.png": 1, ".mask.png": 1, ".npy": 1}
    assert found.passed_over == wanted


DEEP = ("[" * 100_000 + "]" * 100_000).encode()


@pytest.mark.parametrize("data", [DEEP, b'{"a": ' * 300 + b"1" + b"}" * 300, b"{no json", b"\xff"])
def test_a_sidecar_that_cannot_be_read_is_one_reject(tmp_path, data):
    write_tar(tmp_path / "x.tar", samples(0, 3) | {"c0/0000.json": data})
    members = list_members(str(tmp_path)).members
    assert len(members) == 4
    bad = next(m for m in members if m.key == "x.tar!c0/0000.json")
    with pytest.raises(Rejected, match=r"the tar is damaged: c0/0000\.json cannot be read"):
        Reader().read(bad)
    metadata = {m.key: json.loads(m.metadata) for m in members}
    assert "n" not in metadata["x.tar!c0/0000.jpg"]
    assert metadata["x.tar!c1/0001.jpg"]["n"] == 1


@pytest.mark.parametrize("suffix", ["cls", "txt"])
def test_a_label_or_caption_that_is_no_text_is_one_reject_and_no_other_text(tmp_path, suffix):
    """Bytes of another encoding became a sign of replacement, and two labels one."""
    files = frames("0.jpg", "1.jpg") | {f"0.{suffix}": "fée".encode("latin-1")}
    write_tar(tmp_path / "x.tar", files | {f"1.{suffix}": "\ufefffée\r\n".encode()})
    members = {m.key: m for m in list_members(str(tmp_path)).members}
    with pytest.raises(Rejected, match=rf"0\.{suffix} cannot be read: it is not UTF-8 \(byte 1"):
        Reader().read(members[f"x.tar!0.{suffix}"])
    assert members["x.tar!0.jpg"].metadata == "{}"
    assert list(json.loads(members["x.tar!1.jpg"].metadata).values()) == ["fée"]


def write_linked(path: Path, links: dict[str, tuple[bytes, str]]) -> Path:
    """Write a tar with one picture, data/a.jpg, and links: by name, type and target."""
    with tarfile.open(path, "w") as tar:
        data = PICTURES["a/0.jpg"]
        info = tarfile.TarInfo("data/a.jpg")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
        for name, (kind, target) in links.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
    return path


def test_links_in_a_tar_give_the_bytes_they_name_or_one_reject(tmp_path):
    links = {
        "hard.jpg": (tarfile.LNKTYPE, "data/a.jpg"),
        "sym.jpg": (tarfile.SYMTYPE, "data/a.jpg"),
        "data/b.jpg": (tarfile.SYMTYPE, "../sym.jpg"),
        "gone.jpg": (tarfile.LNKTYPE, "data/none.jpg"),
        "round.jpg": (tarfile.SYMTYPE, "round.jpg"),
        "pipe.jpg": (tarfile.FIFOTYPE, ""),
        "data/dir": (tarfile.DIRTYPE, ""),
    }
    source = write_linked(tmp_path / "x.tar", links)
    good = {"data/a.jpg", "hard.jpg", "sym.jpg", "data/b.jpg"}
    bad = {}
    with Reader() as reader:
        for m in list_members(str(source)).members:
            name = m.key.partition("!")[2]
            if name in good:
                assert reader.read(m) == PICTURES["a/0.jpg"]
                assert reader.reread(m.key, m.uri, m.fingerprint) == PICTURES["a/0.jpg"]
                good.remove(name)
            else:
                with pytest.raises(Rejected) as caught:
                    reader.read(m)
                bad[name] = caught.value.reason
    assert not good
    assert bad.keys() == {"gone.jpg", "round.jpg", "pipe.jpg"}
    assert "gone.jpg is a link to data/none.jpg, which is not in the tar" in bad["gone.jpg"]


def test_a_sparse_member_is_one_reject_that_says_so(tmp_path):
    path = tmp_path / "hole.jpg"
    with path.open("wb") as file:
        file.seek(1 << 20)
        file.write(b"end")
    (tmp_path / "a.jpg").write_bytes(PICTURES["a/0.jpg"])
    (tmp_path / "z.jpg").write_bytes(PICTURES["a/1.jpg"])
    for i, form in enumerate(("gnu", "posix")):
        tar = tmp_path / f"{i}.tar"
        command = ["tar", f"--format={form}", "--sparse", "-cf", tar, "a.jpg", "hole.jpg", "z.jpg"]
        subprocess.run(command, cwd=tmp_path, check=True)
        found = {m.key: m for m in list_members(str(tar)).members}
        with Reader() as reader:
            assert reader.read(found[f"{i}.tar!a.jpg"]) == PICTURES["a/0.jpg"]
            assert reader.read(found[f"{i}.tar!z.jpg"]) == PICTURES["a/1.jpg"]
            with pytest.raises(Rejected, match=r"hole\.jpg is a sparse member"):
                reader.read(found[f"{i}.tar!hole.jpg"])
        assert len(found) == 3
