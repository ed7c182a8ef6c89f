"""What the first page does without, done while it is looked at: the next shall not wait for it."""

import importlib
from typing import Final

from jobs.explore.charts import dumbbells
from jobs.explore.explorer import Explorer

REST: Final = (
    "pyarrow.parquet",
    "jobs.explore.originals",
    "schemas.macros",
    "schemas.tables",
    "vl_convert",
)
"""What pictures, downloads and the console import when they are first asked for."""


def prepare(explorer: Explorer) -> None:
    """Draw a chart, compile the templates, import what pictures, downloads and the console need.

    Altair's first chart takes a quarter of a second more than its second.
    """
    dumbbells([{"members": "", "before": 0.0, "after": 0.0, "n": 0}])
    explorer.renderer.compile()
    for name in REST:
        importlib.import_module(name)
