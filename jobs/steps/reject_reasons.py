"""Why pictures of a scan were rejected, counted: what a summary shows of rejects.parquet."""

import re
from collections import Counter

import pyarrow.parquet as pq

from warehouse.files.layout import ScanDir

# What differs between two rejects of one reason: names in quotes, paths and addresses, numbers.
_OWN = re.compile(r"'[^']*'|\"[^\"]*\"|\S*/\S*|\b0x[0-9a-f]+\b|\d[\d,.]*")


def reject_reasons(scan: ScanDir) -> tuple[tuple[str, int], ...]:
    """Return each reason, as `stage: reason` without what is one picture's own, commonest first."""
    if not scan.rejects.is_file():
        return ()
    rows = pq.read_table(scan.rejects, columns=["stage", "reason"]).to_pylist()
    counted = Counter(f"{row['stage']}: {_OWN.sub('…', row['reason'])}" for row in rows)
    return tuple(counted.most_common())
