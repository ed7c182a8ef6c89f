"""Pictures and listings over HTTP, from a real server that goes wrong in each way it can."""

import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.pictures.decode import Rejected
from pipeline.pictures.loader import Clock, batches
from pipeline.sources import list_members, remote
from pipeline.sources.reader import Reader
from schemas.errors import SourceError, UsageError
from schemas.members import UNREACHABLE
from tests.picture_server import Served, serving
from tests.pipeline.sources.written import PICTURES, image_table, read_all, samples, write_tar

NAMES = [name.replace("/", "-") for name in sorted(PICTURES)]
FILES = dict(zip(NAMES, (PICTURES[name] for name in sorted(PICTURES)), strict=True))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait as little as can be, and begin with no host left alone."""
    for name, seconds in {"CONNECT": 1.0, "IDLE": 0.4, "GRACE": 1.0, "PAUSE": 0.01}.items():
        monkeypatch.setattr(remote, name, seconds)
    monkeypatch.setattr(remote, "HOSTS", remote._Hosts())


@pytest.fixture
def server() -> Iterator[Served]:
    with serving(dict(FILES)) as served:
        yield served


def listing_of(server: Served, *paths: str) -> str:
    server.files["l.csv"] = "\n".join(["url,n", *(f"{server.url}/{p},1" for p in paths)]).encode()
    return f"{server.url}/ok/l.csv"


def fates(source: str) -> dict[str, bytes | str]:
    found: dict[str, bytes | str] = {}
    with Reader() as reader:
        for m in list_members(source).members:
            name = m.key.rpartition("//")[2].partition("/")[2]
            try:
                found[name] = reader.read(m)
            except Rejected as verdict:
                assert verdict.stage == "read"
                found[name] = verdict.reason
    return found


def test_a_listing_and_its_pictures(server: Served) -> None:
    source = listing_of(server, *(f"ok/{name}" for name in NAMES))
    assert fates(source) == {f"ok/{name}": data for name, data in FILES.items()}
    # relative paths, a query behind the name, and a server that knows no HEAD
    server.files["r.csv"] = "\n".join(["path", *NAMES]).encode()
    for form in ("ok/r.csv", "ok/r.csv?token=a*b", "nohead/r.csv"):
        assert read_all(f"{server.url}/{form}") == FILES
    first = list_members(source).members
    assert list_members(source).members == first
    server.files[NAMES[0]] = b"other"
    changed = list_members(source).members
    assert [a.fingerprint == b.fingerprint for a, b in zip(first, changed, strict=True)] == [
        False,
        *[True] * (len(NAMES) - 1),
    ]


@pytest.mark.parametrize(
    ("mode", "reason", "asked"),
    [
        ("hang", "no answer in time", 3),
        ("slow", "no answer in time", 3),
        ("drip", "no answer in time", 3),
        ("endless", "more than 5,000 bytes, the limit", 1),
        ("large", "more than 5,000 bytes, the limit", 1),
        ("cut", "payload", 3),
        ("denied", "the server answers 403", 2),
    ],
)
def test_each_way_to_go_wrong_is_one_reject_and_the_others_are_read(
    server: Served, monkeypatch: pytest.MonkeyPatch, mode: str, reason: str, asked: int
) -> None:
    monkeypatch.setattr("pipeline.sources.plain.MAX_BYTES", 5000)
    name = NAMES[0]
    source = listing_of(server, f"ok/{NAMES[1]}", f"{mode}/{name}", f"ok/{NAMES[2]}")
    started = time.perf_counter()
    found = fates(source)
    assert time.perf_counter() - started < 20
    assert reason in str(found.pop(f"{mode}/{name}")).lower() or reason in str(found)
    assert found == {f"ok/{n}": FILES[n] for n in NAMES[1:3]}
    assert server.asked["GET", f"/{mode}/{name}"] == asked


def test_what_passes_is_tried_again_and_what_lasts_is_not(server: Served) -> None:
    name = NAMES[0]
    found = fates(listing_of(server, f"flaky/{name}", "ok/none.jpg"))
    assert found == {f"flaky/{name}": FILES[name], "ok/none.jpg": "no such file"}
    assert server.asked["GET", f"/flaky/{name}"] == 3
    assert server.asked["GET", "/ok/none.jpg"] == 1


def test_one_slow_host_does_not_stop_the_others(server: Served) -> None:
    with serving(dict(FILES)) as slow:
        paths = [f"{slow.url}/hang/{i}-{name}" for i in range(8) for name in NAMES]
        good = [f"{server.url}/ok/{name}" for name in NAMES]
        mixed = [p for i, g in enumerate(good) for p in (*paths[8 * i : 8 * i + 8], g)]
        server.files["m.csv"] = "\n".join(["url", *mixed]).encode()
        started = time.perf_counter()
        members = list_members(f"{server.url}/ok/m.csv").members
        with Reader() as reader:
            loaded = list(
                batches(
                    members,
                    reader,
                    lambda picture: __import__("torch").zeros(3, 1, 1),
                    batch_size=4,
                    threads=1,
                    ahead=8,
                    clock=Clock(),
                )
            )
        seconds = time.perf_counter() - started
        assert sorted(m.key for batch in loaded for m in batch.members) == sorted(good)
        assert sum(len(batch.rejects) for batch in loaded) == len(paths)
        # 48 pictures of three tries each would take over a minute, one after the other
        assert seconds < 25
        assert slow.asked.total() < 3 * len(paths)
        reasons = {r.reason for batch in loaded for r in batch.rejects}
        assert any("is left alone for now" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("loop", "TooManyRedirects"),
        ("broken", "Bad status line"),
        ("failing", "500"),
        ("cut", "payload"),
    ],
)
def test_a_host_that_answers_badly_for_some_files_gives_all_others(
    server: Served, mode: str, reason: str
) -> None:
    """It was left alone after three such files, and its good ones were rejected beside them."""
    bad = [f"{mode}/{i}-{NAMES[0]}" for i in range(2 * remote.GIVEN_UP)]
    server.files |= {f"{i}-{NAMES[0]}": FILES[NAMES[0]] for i in range(len(bad))}
    found = fates(listing_of(server, *bad, *(f"ok/{name}" for name in NAMES)))
    assert {name: found.pop(f"ok/{name}") for name in NAMES} == FILES
    assert found.keys() == set(bad) and all(reason in str(said) for said in found.values())


def test_a_page_in_place_of_a_picture_is_read_and_no_picture(server: Served) -> None:
    found = fates(listing_of(server, f"page/{NAMES[0]}", f"ok/{NAMES[1]}"))
    assert b"<html>" in bytes(found[f"page/{NAMES[0]}"])
    assert found[f"ok/{NAMES[1]}"] == FILES[NAMES[1]]


def test_a_host_that_does_not_answer_changes_no_fingerprint(server: Served) -> None:
    source = listing_of(server, f"hang/{NAMES[0]}", f"ok/{NAMES[1]}", "ok/none.jpg")
    marks = [m.fingerprint for m in list_members(source).members]
    assert marks[0] == UNREACHABLE
    assert marks[1] == "missing" or marks[2] == "missing"
    assert UNREACHABLE not in marks[1:]


def test_tars_and_parquet_over_http(server: Served, tmp_path: Path) -> None:
    files = samples(0, 3)
    server.files["x.tar"] = write_tar(tmp_path / "x.tar", files).read_bytes()
    pq.write_table(image_table(0, 5), tmp_path / "x.parquet")
    server.files["x.parquet"] = (tmp_path / "x.parquet").read_bytes()
    with Reader() as reader:
        for m in list_members(f"{server.url}/ok/x.tar").members:
            assert reader.read(m) == files[m.key.partition("!")[2]]
            assert reader.reread(m.key, m.uri, m.fingerprint) == reader.read(m)
    assert read_all(f"{server.url}/ok/x.parquet") == read_all(tmp_path / "x.parquet")


def test_a_tar_of_a_server_that_ignores_ranges_is_rejected_and_not_read_whole(
    server: Served, tmp_path: Path
) -> None:
    server.files["x.tar"] = write_tar(tmp_path / "x.tar", samples(0, 3)).read_bytes()
    members = list_members(f"{server.url}/ok/x.tar").members
    with Reader() as reader:
        for m in members:
            moved = type(m)(m.key, m.uri.replace("/ok/", "/norange/"), *m_rest(m))
            with pytest.raises(Rejected, match="ignores Range"):
                reader.read(moved)


def m_rest(m: object) -> tuple[object, ...]:
    return tuple(
        getattr(m, name) for name in ("fingerprint", "label", "metadata", "offset", "size")
    )


@pytest.mark.parametrize("mode", ["hang", "denied", "cut", "drip"])
def test_a_listing_that_cannot_be_had_is_an_error_in_one_line(server: Served, mode: str) -> None:
    server.files["l.csv"] = b"path\n" + b"a.jpg\n" * 100
    with pytest.raises(SourceError, match=r"l\.csv") as caught:
        list_members(f"{server.url}/{mode}/l.csv")
    assert "\n" not in str(caught.value)


def test_a_package_that_is_missing_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def absent(url: str, **options: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", absent)
    (tmp_path / "l.csv").write_text("path\ns3://bucket/a.jpg\n")
    for source in ("s3://bucket/pictures", str(tmp_path / "l.csv")):
        with pytest.raises(UsageError, match=r"s3fs.*pip install 'headatlas\[remote\]'"):
            list_members(source)


def test_one_row_of_an_unknown_protocol_is_one_reject(server: Served) -> None:
    server.files["o.csv"] = f"url\ngopher://x/a.jpg\n{server.url}/ok/{NAMES[0]}\n".encode()
    found = fates(f"{server.url}/ok/o.csv")
    assert found[f"ok/{NAMES[0]}"] == FILES[NAMES[0]]
    assert len(found) == 2 and any("gopher" in str(reason) for reason in found.values())
