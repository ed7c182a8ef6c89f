"""What of a refresh's plan can be checked without the model, before any work is done."""

from collections.abc import Sequence

import pyarrow as pa

from jobs.commands import zeroshot
from jobs.commands.pool import import_
from jobs.commands.roles.build import RolesConfig
from jobs.commands.scan import ScanConfig, listed
from jobs.commands.textspan import TextSpanConfig, basis_path
from jobs.commands.zeroshot import ZeroShotConfig
from jobs.steps.early import check_model
from jobs.steps.templates import templates_of
from pipeline.sources import Listing
from schemas.errors import UnknownName, UsageError
from schemas.members import Member
from schemas.results.textspan import TEXTSPAN
from schemas.written import SCANS
from warehouse.files.layout import ScanDir, Warehouse
from warehouse.results.files import list_results
from warehouse.store.columns import LABEL, parse
from warehouse.store.pools import pools
from warehouse.store.select import matching


def check_plan(
    warehouse: Warehouse,
    asked: ScanConfig,
    spans: Sequence[TextSpanConfig],
    tests: Sequence[RolesConfig],
    classes: Sequence[ZeroShotConfig],
) -> Listing:
    """Check that what a plan names is there: pools, bases, files, columns, layers.

    Returns:
        The pictures, as they are listed once for the whole night.

    Raises:
        UsageError: something is not there or cannot be read; the message says what there is.
        SourceError: the pictures cannot be listed.
    """
    there = {*pools(warehouse), *import_.SHIPPED}
    for span in spans:
        if span.pool not in there:
            raise UsageError(
                f"textspan: no pool {span.pool!r} in {warehouse.root}; import it first "
                f"(there is {', '.join(sorted(there))})"
            )
        templates_of(span.template)
    _check_bases(warehouse, asked, spans, tests)
    for one in classes:
        zeroshot.check_readable(one)
    check_model(asked.model, asked.layers, asked.pretrained)
    listing = listed(asked)
    _check_columns(asked, listing, spans, classes)
    return listing


def _check_bases(
    warehouse: Warehouse,
    asked: ScanConfig,
    spans: Sequence[TextSpanConfig],
    tests: Sequence[RolesConfig],
) -> None:
    nowhere = ScanDir(warehouse.root / SCANS / (asked.scan or ""))
    planned = {basis_path(nowhere, span).stem for span in spans}
    for test in tests:
        if test.basis is None:
            raise UsageError("roles: name the basis, as in `roles: [{basis: general}]`")
        if test.basis in planned:
            continue
        # the scan's own name is not known yet where none is given
        scans = [name for name in warehouse.scans() if asked.scan in (None, name)]
        stored = {p.stem for n in scans for p in list_results(warehouse.scan(n), TEXTSPAN)}
        if test.basis not in stored:
            raise UnknownName.among("TextSpan basis", test.basis, planned | stored)


def _check_columns(
    asked: ScanConfig,
    listing: Listing,
    spans: Sequence[TextSpanConfig],
    classes: Sequence[ZeroShotConfig],
) -> None:
    """Check, against the source's listing, the columns that are named and the conditions."""
    named = {name for one in classes for name in (one.label_column, *one.group_by)} - {LABEL}
    wheres = [span.where for span in spans if span.where is not None]
    unlabelled = [one for one in classes if one.classes == zeroshot.LABELS]
    known: set[str] = set()
    if named:
        metadata = {member.metadata for member in listing.members}
        known = {name for text in metadata for name in parse(text)}
    for name in sorted(named - known):
        raise UnknownName.among(f"column of {asked.source} called", name, {LABEL, *known})
    for where in wheres:
        matching(_rows(listing.members), where)
    for one in unlabelled:
        _check_labels(listing.members, one.label_column, asked.source)


def _check_labels(members: Sequence[Member], column: str, source: str) -> None:
    """Check that there are labels to make classes of."""
    values = {
        member.label if column == LABEL else parse(member.metadata).get(column)
        for member in members
    } - {None}
    if len(values) < 2:
        raise UsageError(
            f"classes `labels`: {len(values)} labels in column {column!r} of {source}; expected "
            "two or more: scan with labels, or give a file of classes"
        )


def _rows(members: Sequence[Member]) -> pa.Table:
    """Return a listing as image rows, without what is known only when a picture was read."""
    count = len(members)
    nothing = {name: pa.nulls(count, pa.int32()) for name in ("width", "height")}
    nothing |= {name: pa.nulls(count, pa.float32()) for name in ("sigma", "norm")}
    texts = {
        name: pa.array([getattr(member, name) for member in members], pa.string())
        for name in ("key", "uri", "label", "metadata")
    }
    return pa.table({"image_id": pa.array(range(count), pa.int64()), **texts, **nothing})
