"""How soon the explorer answers: its first page waits for nothing that it does not show."""

import subprocess
import sys
from pathlib import Path

from warehouse.files.layout import Warehouse

ROOT = Path(__file__).parents[3]
FIRST_PAGE = """
import sys
from pathlib import Path
from jobs.commands import explore
from jobs.explore.app import application
from jobs.explore.explorer import Explorer
from warehouse.files.layout import Warehouse

explorer = Explorer.over(Warehouse(Path(sys.argv[1])))
application(explorer, hosts=(), token=None)
(atlas,) = (route for route in explorer.routes if route.path == "/")
assert "Layers and heads" in explorer.page(atlas, {}, {})
print([name for name in sys.argv[2:] if name in sys.modules])
"""


def test_a_first_page_imports_no_model_no_source_of_pictures_and_no_charts(bare: Warehouse) -> None:
    later = ("torch", "open_clip", "ray", "matplotlib", "altair", "vl_convert", "PIL", "fsspec")
    later += ("pyarrow", "numpy", "pandas")
    done = subprocess.run(
        [sys.executable, "-c", FIRST_PAGE, str(bare.root), *later],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"


BEFORE_ANY = """
import sys
import time
from pathlib import Path
from jobs.explore.readiness import REST
from jobs.explore.serving import serving
from warehouse.files.layout import Warehouse

rest = {"altair", "numpy", *REST}
with serving(Warehouse(Path(sys.argv[1]))):
    until = time.monotonic() + 60
    while not rest <= set(sys.modules) and time.monotonic() < until:
        time.sleep(0.01)
print(sorted(rest - set(sys.modules)))
"""


def test_what_other_pages_need_is_imported_before_they_are_asked_for(bare: Warehouse) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEFORE_ANY, str(bare.root)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"


CHART_AND_PICTURE = """
import importlib
import sys
import threading

import altair

from jobs.explore import charts

assert "numpy" not in sys.modules
began = threading.Event()


class Slow:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("numpy.") and not began.is_set():  # within NumPy's own import
            began.set()
            threading.Event().wait(1.0)


sys.meta_path.insert(0, Slow())
picture = threading.Thread(target=importlib.import_module, args=("numpy",))
picture.start()
began.wait(60)
assert not hasattr(sys.modules["numpy"], "ndarray")
print(charts.bars([{"name": "a", "value": 1.0}], "name", "value", "of")["data"])
picture.join()
"""


def test_a_chart_waits_for_a_picture_that_imports_numpy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHART_AND_PICTURE],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout == "{'values': [{'name': 'a', 'value': 1.0}]}\n", done.stderr
