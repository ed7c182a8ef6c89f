"""`import headatlas`: every command a function, options as keywords, nothing published unasked."""

import asyncio
import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

import headatlas as ha
from jobs.command import commands
from jobs.functions import function_named, names
from warehouse.files.layout import Warehouse

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "open_clip", "ray", "matplotlib")


def imports(code: str, cwd: Path = ROOT) -> set[str]:
    """Return which heavy modules a process has imported after running `code`."""
    program = f"{code}\nimport sys\nprint([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=cwd, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return set(json.loads(done.stdout.splitlines()[-1].replace("'", '"')))


def test_every_command_is_a_function_with_its_options() -> None:
    assert {*names()} <= {*dir(ha)}
    for command in commands():
        function = function_named(command.name.replace(" ", "_").replace("-", "_"))
        assert function is not None
        signature, model = inspect.signature(function), command.model
        assert {*model.model_fields} <= {*signature.parameters}
        assert ("publish" in signature.parameters) == command.publishes
        for name, field in model.model_fields.items():
            assert f"    {name}: {field.description}" in (function.__doc__ or "")
            if not field.is_required():
                assert signature.parameters[name].default == field.default
    with pytest.raises(AttributeError):
        _ = ha.no_such_command


def test_no_commands_module_and_no_help_imports_what_is_heavy() -> None:
    every = "\n".join(f"import {command.module_name}" for command in commands())
    assert imports(every) == set()
    assert imports("import headatlas; dir(headatlas); headatlas.scan") == set()
    for arguments in (["-h"], ["scan", "-h"], ["sql", "-h"]):
        code = f"from jobs.cli import main\ntry: main({arguments})\nexcept SystemExit: pass"
        assert imports(code) == set()


def test_nearest_by_a_stored_key_needs_no_torch(published: Path) -> None:
    (key,) = ha.sql("SELECT key FROM images LIMIT 1", warehouse=published)["key"].to_pylist()
    code = (
        "import headatlas as ha\n"
        f"done = ha.nearest({key!r}, head='L1H1', k=3, warehouse={str(published)!r})\n"
        "assert len(done.neighbours) == 3"
    )
    assert imports(code) == set()


def test_functions_return_results_and_publish_only_when_asked(
    scanned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "w"
    shutil.copytree(scanned, root)
    texts = tmp_path / "texts.txt"
    texts.write_text("a red bird\na blue car\na green tree\n")
    assert ha.pool_import(texts, warehouse=root, name="mine").kept == 3
    capsys.readouterr()
    done = ha.textspan(pool="mine", warehouse=root, m=2)
    assert (done.basis, done.heads) == ("mine", 9)
    assert "not published" in capsys.readouterr().err
    assert not Warehouse(root).database.exists()
    ha.textspan(pool="mine", warehouse=root, m=2, publish=True)
    assert "published version 1" in capsys.readouterr().err
    found = ha.sql("SELECT count(*) AS n FROM heads", warehouse=root)
    assert isinstance(found, pa.Table) and found["n"].to_pylist() == [9]


def test_functions_work_inside_a_running_event_loop(published: Path) -> None:
    async def cell() -> int:
        return len(ha.sql("FROM heads", warehouse=published))

    assert asyncio.run(cell()) == 9


def test_errors_are_those_of_the_command_line(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADATLAS_WAREHOUSE", raising=False)
    with pytest.raises(ha.errors.UsageError, match="warehouse is missing"):
        ha.sql("FROM heads")
    with pytest.raises(ha.errors.UsageError, match="unexpected keyword argument 'hed'"):
        ha.nearest("x", hed="L1H1", warehouse=published)
    with pytest.raises(ha.errors.UnknownName, match="did you mean L1H1"):
        ha.nearest("x", head="L1H11", warehouse=published)
    monkeypatch.setenv("HEADATLAS_WAREHOUSE", str(published))
    assert len(ha.sql("FROM heads")) == 9


def test_a_module_of_ones_own_called_jobs_does_no_harm(tmp_path: Path, scanned: Path) -> None:
    (tmp_path / "jobs.py").write_text("raise RuntimeError('not this one')\n")
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "__init__.py").write_text("")
    # as a notebook or `python -m headatlas` has it: this folder first, ours after it
    code = (
        f"import sys; sys.path.insert(0, ''); sys.path.append({str(ROOT)!r})\n"
        "import headatlas as ha\n"
        f"print(ha.info(warehouse={str(scanned)!r})[1][2][0][0])"
    )
    found = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (found.returncode, found.stdout.split()[-1:]) == (0, ["s"]), found.stderr
    program = subprocess.run(
        [sys.executable, "-m", "headatlas", "info", "--warehouse", str(scanned)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert program.returncode == 0 and "\ns\ttiny" in program.stdout, program.stderr
    taken = f"import sys; sys.path.append({str(ROOT)!r}); import schemas; import headatlas"
    clash = subprocess.run(
        [sys.executable, "-c", taken],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert clash.returncode == 1 and "`schemas` is imported already" in clash.stderr
