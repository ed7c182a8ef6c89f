"""The notebook of the documentation runs, cell by cell, in a folder of its own."""

import os
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.filterwarnings("ignore")  # of the kernel's own libraries
def test_the_notebook_runs_and_shows_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = pytest.importorskip("nbclient", reason="extra dev brings it")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.delenv("HEADATLAS_WAREHOUSE", raising=False)
    notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "saved without outputs"
    done = client.NotebookClient(
        notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    cells = [cell for cell in done.cells if cell.cell_type == "code"]
    shown = [
        output["data"]
        for cell in cells
        for output in cell.outputs
        if output.output_type == "execute_result"
    ]
    assert any("(400, 0)" in data["text/plain"] for data in shown)
    assert sum("image/png" in data for data in shown) == 2
    said = "".join(o.get("text", "") for cell in cells for o in cell.outputs)
    assert "not published" in said and "published version 1" in said
    # in a notebook people read: no lines of JSON
    assert '{"time"' not in said
