"""`export --embedding-atlas`: what the tool reads, against a literal computation; and the tool."""

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import sync_playwright

from jobs.commands.export import ExportConfig, run
from jobs.steps.opened import open_scan
from tests.jobs.explore.conftest import PICTURES
from tests.jobs.explore.reading import answers
from warehouse.files.layout import Warehouse
from warehouse.store.reading import read_head


def test_places_neighbours_and_thumbnails_of_a_head(explored: Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "L5H0.parquet"
    done = run(ExportConfig(output=path, warehouse=explored.root, embedding_atlas="L5H0"))
    table = pq.read_table(path)
    assert done.images == len(table) == PICTURES
    opened = open_scan(explored, None)
    _, vectors = read_head(opened.scan, opened.shards, 5, 0)
    centred = vectors.astype(np.float64) - vectors.astype(np.float64).mean(axis=0)
    # the first place is the direction of the largest variance, the second of the next
    spread = np.linalg.svd(centred, compute_uv=False) ** 2
    axes = answers(explored, "FROM head_directions WHERE layer = 5 AND head = 0 ORDER BY direction")
    for name, expected, axis in zip("xy", spread, axes, strict=False):
        places = table[name].to_numpy()
        np.testing.assert_allclose((places**2).sum(), expected, rtol=1e-3)
        np.testing.assert_allclose(places, centred @ np.array(axis["vector"]), atol=1e-4)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    for row, found in enumerate(table["neighbors"].to_pylist()):
        cosines = unit @ unit[row]
        cosines[row] = -np.inf
        best = np.sort(cosines)[::-1][: len(found["ids"])]
        assert row not in found["ids"]
        np.testing.assert_allclose(1 - np.array(found["distances"]), best, atol=2e-3)
        np.testing.assert_allclose(cosines[found["ids"]], best, atol=2e-3)
    first = table["image"][0].as_py()
    assert first["bytes"][:2] == b"\xff\xd8"
    assert first["path"] == table["key"][0].as_py()


TOOL = os.environ.get("EMBEDDING_ATLAS") or shutil.which("embedding-atlas")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.slow
@pytest.mark.skipif(
    TOOL is None,
    reason="needs the tool: pip install embedding-atlas, in an environment of its own, and "
    "EMBEDDING_ATLAS=PATH of its program",
)
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium")
def test_the_tool_opens_it(explored: Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "L5H0.parquet"
    run(ExportConfig(output=path, warehouse=explored.root, embedding_atlas="L5H0"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert TOOL is not None
    columns = "--x x --y y --neighbors neighbors --image image".split()
    command = [TOOL, str(path), *columns, "--host", "127.0.0.1", "--port", str(port)]
    address = f"http://127.0.0.1:{port}"
    with (tmp_path / "said").open("w") as said:
        with subprocess.Popen(command, stdout=said, stderr=said, cwd=tmp_path) as process:
            try:
                _wait_for(address, process, tmp_path / "said")
                with sync_playwright() as playwright:
                    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
                    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
                    page = browser.new_page()
                    page.goto(address)
                    # the points themselves are drawn by WebGPU, which not every machine has
                    page.get_by_text(f"{PICTURES} points").first.wait_for(timeout=120_000)
                    page.wait_for_function(
                        "[...document.images].some((one) => one.naturalWidth === 64)"
                    )
                    browser.close()
            finally:
                process.terminate()


def _wait_for(address: str, process: subprocess.Popen[bytes], said: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert process.poll() is None, said.read_text()
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    raise TimeoutError(said.read_text())
