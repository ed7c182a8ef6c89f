"""What the program writes into folders of a person's choice, and by what such a folder is known.

Warehouses may lie where pictures lie; a listing of the pictures passes over what is in them.
"""

from dataclasses import dataclass

from schemas.names import SEGMENTATION

SCANS = "scans"
SCAN_RECORD = "scan.json"
POOLS = "pools"
POOL = "pool.parquet"
RUNS = "runs"
VERSIONS = "atlas"
DATABASE = "atlas.duckdb"

SEGMENT = "segment.json"
SCORES_FILE = "scores.parquet"
SCORES_CSV = "scores.csv"
EXAMPLES = "examples.png"
PARTS = "parts"

LEFT_OUT = "left-out.html"
DRAWN = "pictures"
ASSETS = "static"


@dataclass(frozen=True)
class Output:
    """One kind of folder that the program writes.

    Attributes:
        marks: paths below it, `*` for any one name; a folder with one of them is such a folder.
        parts: names in it of what the program writes; anything else there is the person's.
    """

    marks: tuple[str, ...]
    parts: frozenset[str]


OUTPUTS = (
    Output(
        (f"{SCANS}/*/{SCAN_RECORD}", f"{POOLS}/*/{POOL}", DATABASE),
        frozenset({SCANS, POOLS, RUNS, SEGMENTATION, VERSIONS, DATABASE}),
    ),
    Output((SEGMENT,), frozenset({SEGMENT, SCORES_FILE, SCORES_CSV, EXAMPLES, PARTS})),
    Output((LEFT_OUT,), frozenset({LEFT_OUT, DRAWN, ASSETS})),
)
