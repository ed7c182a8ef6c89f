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
# Of a copy that was pushed.
POINTER = "atlas.json"

SEGMENT = "segment.json"
SCORES_FILE = "scores.parquet"
SCORES_CSV = "scores.csv"
EXAMPLES = "examples.png"
PARTS = "parts"

LEFT_OUT = "left-out.html"
DRAWN = "drawn"
ASSETS = "static"

# Below a folder of the first name, one that holds the file: it is the program's with all in it.
FOLDERS = ((SCANS, SCAN_RECORD), (POOLS, POOL))


@dataclass(frozen=True)
class Output:
    """What the program writes side by side into a folder.

    Attributes:
        marks: paths below the folder, `*` for any one name, by any of which it is known.
        parts: names in it of what the program writes; anything else there is the person's.
    """

    marks: tuple[str, ...]
    parts: frozenset[str]


OUTPUTS = (
    Output(
        (DATABASE, f"{SCANS}/*/{SCAN_RECORD}"),
        frozenset({RUNS, SEGMENTATION, VERSIONS, DATABASE}),
    ),
    Output((POINTER,), frozenset({POINTER, DATABASE, VERSIONS, SCANS})),
    Output((SEGMENT,), frozenset({SEGMENT, SCORES_FILE, SCORES_CSV, EXAMPLES, PARTS})),
    Output((LEFT_OUT,), frozenset({LEFT_OUT, DRAWN, ASSETS})),
)
