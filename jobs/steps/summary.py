"""After a scan's commit: each head's merged moments, summarised in heads.parquet."""

from jobs.steps.opened import opened
from pipeline.heads.summary import component_shares, heads_table
from schemas.manifest import Snapshot
from schemas.results import KINDS
from schemas.results.heads import HEADS
from warehouse.files.layout import ScanDir
from warehouse.results.claims import Now
from warehouse.results.files import write_result


def store_heads(scan: ScanDir, snapshot: Snapshot) -> None:
    """Merge the live shards' moments and write heads.parquet; nothing without pictures."""
    if snapshot.images == 0:
        return
    found = opened(scan, snapshot)
    now = Now.opened(found)
    claim = now.claim(KINDS[HEADS])
    if now.why_not(scan.heads, claim) is None:
        return
    moments = found.moments
    shares = component_shares(moments)
    names = {key[0] for key in shares}
    by_kind = {
        kind: sum(share for key, share in shares.items() if key[0] == kind)
        for kind in dict.fromkeys(["head", "mlp", "bias", "init", "const", *sorted(names)])
    }
    write_result(scan.heads, heads_table(moments), now.provenance(claim, variance_shares=by_kind))
