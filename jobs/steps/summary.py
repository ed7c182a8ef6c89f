"""After a scan's commit: each head's merged moments, summarised in heads.parquet."""

from datetime import UTC, datetime

from jobs.steps.opened import opened
from pipeline.heads.summary import component_shares, heads_table
from schemas.manifest import Snapshot
from warehouse.files.layout import ScanDir
from warehouse.results.files import read_provenance, write_result


def store_heads(scan: ScanDir, snapshot: Snapshot) -> None:
    """Merge the live shards' moments and write heads.parquet; nothing without pictures."""
    if snapshot.images == 0:
        return
    if scan.heads.is_file() and read_provenance(scan.heads)["snapshot"] == snapshot.number:
        return
    moments = opened(scan, snapshot).moments
    shares = component_shares(moments)
    by_kind = {
        kind: sum(share for key, share in shares.items() if key[0] == kind)
        for kind in ("head", "mlp", "bias", "init", "const")
    }
    provenance = {
        "snapshot": snapshot.number,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "variance_shares": by_kind,
    }
    write_result(scan.heads, heads_table(moments), provenance)
