"""After a scan's commit: each head's merged moments, summarised: heads and head_directions."""

from threadpoolctl import threadpool_limits

from jobs.steps.opened import Opened, opened
from pipeline.heads.summary import component_shares, directions_table, heads_table
from schemas.manifest import Snapshot
from schemas.results import KINDS
from schemas.results.head_directions import HEAD_DIRECTIONS
from schemas.results.heads import HEADS, heads_schema
from warehouse.files.layout import ScanDir
from warehouse.results.claims import Now
from warehouse.results.files import write_result
from warehouse.results.registry import result_path


def store_heads(scan: ScanDir, snapshot: Snapshot) -> None:
    """Merge the live shards' moments and write what they say of heads; nothing without pictures.

    What is there and stands already is left as it is.
    """
    if snapshot.images == 0:
        return
    found = opened(scan, snapshot)
    now = Now.opened(found)
    # a head's matrix is small: threads of BLAS would wait for each other longer than they work
    with threadpool_limits(1, "blas"):
        _store_summary(found, now)
        _store_directions(found, now)


def _store_summary(found: Opened, now: Now) -> None:
    claim = now.claim(KINDS[HEADS])
    if now.why_not(found.scan.heads, claim) is None:
        return
    shares = component_shares(found.moments)
    names = {key[0] for key in shares}
    by_kind = {
        kind: sum(share for key, share in shares.items() if key[0] == kind)
        for kind in dict.fromkeys(["head", "mlp", "bias", "init", "const", *sorted(names)])
    }
    said = now.provenance(claim, variance_shares=by_kind)
    write_result(found.scan.heads, heads_table(found.moments, heads_schema()), said)


def _store_directions(found: Opened, now: Now) -> None:
    claim = now.claim(KINDS[HEAD_DIRECTIONS])
    path = result_path(found.scan, KINDS[HEAD_DIRECTIONS], HEAD_DIRECTIONS)
    if now.why_not(path, claim) is not None:
        write_result(path, directions_table(found.moments), now.provenance(claim))
