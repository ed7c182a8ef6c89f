"""A published warehouse on a real S3 server: what is missing is sent, and DuckDB reads it there."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import s3fs

from jobs.commands.push import PushConfig
from jobs.commands.push import run as push
from schemas.errors import StoreError, UsageError
from tests.pipeline.sources.test_s3 import KEY, SECRET, bucket
from tests.synthetic import write_frames, write_scan
from warehouse.database.publish import publish
from warehouse.database.query import query
from warehouse.files.layout import Warehouse

__all__ = ["bucket"]  # a fixture
URL = "s3://bucket/deep/atlas"
NEAREST = "SELECT key, score FROM nearest_by_head((SELECT min(key) FROM image_index), 'L{}H1')"


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    write_frames(write_scan(tmp_path / "w"))
    publish(Warehouse(tmp_path / "w"))
    return Warehouse(tmp_path / "w")


def asked(warehouse: Warehouse) -> str:
    rows = query(warehouse, "SELECT max(layer) AS layer FROM heads").to_pylist()
    return NEAREST.format(rows[0]["layer"])


def test_only_what_is_missing_is_sent_and_the_bytes_are_the_same(
    bucket: Path, warehouse: Warehouse, tmp_path: Path
) -> None:
    first = push(PushConfig(destination=URL, warehouse=warehouse.root))
    assert first.files > 2 and first.there == 0 and first.bytes > 0
    started = time.perf_counter()
    again = push(PushConfig(destination=URL, warehouse=warehouse.root))
    assert (again.files, again.bytes) == (0, 0) and again.there == first.files
    assert time.perf_counter() - started < 10  # 2 s on a machine that does nothing else
    copied = bucket / "deep" / "atlas"
    sent = [p for p in copied.rglob("*") if p.is_file() and p.suffix == ".parquet"]
    assert len(sent) == first.files - 2
    for path in sent:
        assert path.read_bytes() == (warehouse.root / path.relative_to(copied)).read_bytes()
    # a downloaded copy answers as the warehouse does, and needs nothing of ours that is not there
    s3fs.S3FileSystem().get(URL, str(tmp_path / "got"), recursive=True)
    sql = asked(warehouse)
    expected = query(warehouse, sql).to_pylist()
    frames = query(warehouse, "FROM head_frames").to_pylist()
    shutil.rmtree(warehouse.root)
    assert query(Warehouse(tmp_path / "got"), sql).to_pylist() == expected and expected
    assert query(Warehouse(tmp_path / "got"), "FROM head_frames").to_pylist() == frames and frames


def test_a_new_version_sends_the_database_alone_and_a_damaged_file_again(
    bucket: Path, warehouse: Warehouse
) -> None:
    first = push(PushConfig(destination=URL, warehouse=warehouse.root))
    publish(warehouse)
    second = push(PushConfig(destination=URL, warehouse=warehouse.root))
    assert (second.version, second.files) == (2, 2)
    atlas = bucket / "deep" / "atlas"
    assert len(list((atlas / "atlas").glob("*.duckdb"))) == 2
    assert (atlas / "atlas.duckdb").read_bytes() == warehouse.database.read_bytes()
    victim = next(atlas.rglob("images.parquet"))
    victim.write_bytes(b"cut")
    assert push(PushConfig(destination=URL, warehouse=warehouse.root)).files == 1
    assert first.files == second.there + 2


def test_what_cannot_be_pushed_is_one_line(
    bucket: Path, warehouse: Warehouse, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="headatlas publish"):
        push(PushConfig(destination=URL, warehouse=tmp_path / "empty"))
    with pytest.raises(StoreError, match="cannot be written") as caught:
        push(PushConfig(destination="nonsense://me:secret@host/x", warehouse=warehouse.root))
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="headatlas push s3://bucket/w"):
        PushConfig.checked({"destination": URL, "warehouse": "s3://bucket/w"})


PLAIN = """
import json, os, pathlib, sys
import duckdb, duckdb_extension_httpfs
extension, = pathlib.Path(list(duckdb_extension_httpfs.__path__)[0]).rglob("*.duckdb_extension")
con = duckdb.connect()
con.execute(f"LOAD '{extension}'")
con.execute(
    f"CREATE SECRET (TYPE s3, KEY_ID '{sys.argv[2]}', SECRET '{sys.argv[3]}', REGION 'us-east-1',"
    f" ENDPOINT '{os.environ['AWS_ENDPOINT_URL'][7:]}', URL_STYLE 'path', USE_SSL false)"
)
con.execute("ATTACH 's3://bucket/deep/atlas/atlas.duckdb' AS a (READ_ONLY)")
con.execute("USE a")
con.execute("SET VARIABLE headatlas_root = 's3://bucket/deep/atlas'")
print(json.dumps(con.execute(sys.argv[1]).fetchall()))
"""


@pytest.mark.slow
def test_a_plain_duckdb_with_httpfs_reads_it_there(
    bucket: Path, warehouse: Warehouse, tmp_path: Path
) -> None:

    target = tmp_path / "duckdb"
    wanted = ["duckdb==1.5.5", "duckdb-extension-httpfs==1.5.5"]
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target)]
    subprocess.run([*pip, *wanted], check=True, capture_output=True, timeout=250)
    push(PushConfig(destination=URL, warehouse=warehouse.root))
    sql = asked(warehouse)
    expected = [list(row.values()) for row in query(warehouse, sql).to_pylist()]
    shutil.rmtree(warehouse.root)
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, sql, KEY, SECRET],
        env={**os.environ, "PYTHONPATH": str(target)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row[0] for row in found] == [row[0] for row in expected]
    assert [row[1] for row in found] == pytest.approx([row[1] for row in expected], abs=1e-6)
