"""Which scan is asked when none is named: one rule, for SQL and for every command.

The scan that was begun last, of those that have committed something. Committing more to an older
one, compacting it or publishing changes nothing; `scan --restart` begins it anew.
"""

from datetime import UTC, datetime

from schemas.manifest import ScanRecord


def age(record: ScanRecord) -> tuple[datetime, str]:
    """Return what scans are ordered by: the last one is the default."""
    begun = datetime.fromisoformat(record.created_at)
    return begun if begun.tzinfo else begun.replace(tzinfo=UTC), record.scan_id
