"""`headatlas push` to an S3 server on loopback: all of a warehouse, then nothing of it.

The warehouse has as many files as one of a million pictures of 12 layers has, each small: what an
unchanged one costs is looking at names. The server is rclone's.
"""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import headatlas
from benchmarks.rows import Row
from tests.pipeline.sources.test_s3 import KEY, SECRET, rclone
from tests.synthetic import Shape, write_scan
from warehouse.database.publish import publish
from warehouse.database.push import Pushed
from warehouse.files.layout import Warehouse

SHARDS = 245
SHAPE = Shape(tuple(range(12)), 12, 2, d_head=4, d_joint=8, shard_size=4)


def run(work: Path, shards: int = SHARDS) -> list[Row]:
    """Push twice; the second time nothing has changed."""
    root = work / "warehouse"
    write_scan(root, pictures=shards * SHAPE.shard_size, shape=SHAPE)
    publish(Warehouse(root))
    with _served(work / "served"):
        first, whole = _push(root)
        second, nothing = _push(root)
    note = f"{first.files:,} files, {first.bytes / 1e6:.1f} MB, {shards} shards"
    return [
        Row("push of a warehouse", whole, "s", None, note),
        Row("push of an unchanged warehouse", nothing, "s", 2.0, note),
        Row("its files and bytes", second.files + second.bytes, "", 0, note),
    ]


def _push(root: Path) -> tuple[Pushed, float]:
    started = time.perf_counter()
    done = headatlas.push("s3://bucket/atlas", warehouse=root)
    return done, time.perf_counter() - started


@contextmanager
def _served(root: Path) -> Iterator[None]:
    """Serve a folder as s3://bucket, and let this process know."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (root / "bucket").mkdir(parents=True)
    options = ["--addr", address, "--auth-key", f"{KEY},{SECRET}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([rclone(), "serve", "s3", *options, str(root)], **quiet) as server:
        os.environ.update(
            AWS_ACCESS_KEY_ID=KEY,
            AWS_SECRET_ACCESS_KEY=SECRET,
            AWS_ENDPOINT_URL=f"http://{address}",
        )
        try:
            for _ in range(200):
                with socket.socket() as asked:
                    if asked.connect_ex(("127.0.0.1", int(address.rpartition(":")[2]))) == 0:
                        break
                time.sleep(0.05)
            yield
        finally:
            server.terminate()
