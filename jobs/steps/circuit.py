"""The strongest paths into some heads of a scan: `headatlas circuit`."""

from jobs.commands.circuit import CircuitConfig, CircuitResult, PathRow
from jobs.steps.circuit_names import name_of
from jobs.steps.circuit_svg import svg
from jobs.steps.layer_matched import layer_matched_sets
from jobs.steps.whatif import Head, spread
from pipeline.heads.circuits import Drawn, Edge, carried, strongest
from pipeline.heads.edge_source import Source
from schemas.errors import UsageError
from schemas.names import head_name, parse_head
from schemas.results import KINDS
from schemas.results.head_edges import HEAD_EDGES
from warehouse.files.atomic import write_text
from warehouse.files.layout import Warehouse
from warehouse.results.claims import Now
from warehouse.results.files import read_result
from warehouse.results.registry import result_path
from warehouse.results.roles import heads_of_role, roles_in_force
from warehouse.store.opened import OpenedScan, open_snapshot


def draw(config: CircuitConfig) -> CircuitResult:
    """Find the paths and draw them; see `jobs.commands.circuit.run`."""
    opened = open_snapshot(Warehouse(config.warehouse), config.scan)
    edges = read_edges(opened)
    targets = _targets(config, opened)
    known = {edge.target for edge in edges}
    for head in targets:
        if head not in known:
            layers = sorted({layer for layer, _ in known})
            raise UsageError(
                f"no head {head_name(*head)} in the edges of scan {opened.name!r}: there are "
                f"layers {layers[0]} to {layers[-1]}, heads 0 to {max(h for _, h in known)}"
            )
    found = strongest(edges, targets, config.edges)
    feeders = _feeders(found, targets)
    heads_of = {n: sum(layer == n for layer, _ in known) for n, _ in feeders}
    random = layer_matched_sets(feeders, heads_of, config.control, config.seed) if feeders else []
    share = carried(edges, targets, feeders)
    beside = spread([carried(edges, targets, some) for some in random]) if random else (None, None)
    done = CircuitResult(
        scan=opened.name,
        targets=tuple(head_name(*head) for head in targets),
        paths=tuple(_row(one) for one in found),
        carried=share,
        control=tuple(tuple(head_name(*head) for head in some) for some in random),
        control_mean=beside[0],
        control_sd=beside[1],
        path=config.output,
    )
    roles: dict[Head, list[str]] = {}
    for head, role in sorted(roles_in_force(opened.scan)):
        roles.setdefault(head, []).append(role)
    write_text(config.output, svg(done, found, targets, roles))
    return done


def read_edges(opened: OpenedScan) -> list[Edge]:
    """Return all edges of a scan whose share is known.

    Raises:
        UsageError: they have not been measured.
        StaleScan: they are of another model or configuration.
    """
    path = result_path(opened.scan, KINDS[HEAD_EDGES], HEAD_EDGES)
    if not path.is_file():
        raise UsageError(
            f"scan {opened.name!r} has no edges; run headatlas edges --scan {opened.name} first"
        )
    Now.opened(opened).require_usable(KINDS[HEAD_EDGES], path)
    names = ("src_kind", "src_layer", "src_head", "layer", "head", "share")
    columns = (read_result(path)[0][name].to_pylist() for name in names)
    return [
        Edge(Source(kind, src_layer, src_head), (layer, head), share)
        for kind, src_layer, src_head, layer, head, share in zip(*columns, strict=True)
        if share is not None
    ]


def _targets(config: CircuitConfig, opened: OpenedScan) -> tuple[Head, ...]:
    try:
        return (parse_head(config.head),)
    except UsageError:
        return heads_of_role(opened.scan, config.head, config.basis)


def _feeders(found: list[Drawn], targets: tuple[Head, ...]) -> list[Head]:
    """Return the heads that a target reads by a drawn edge."""
    return sorted(
        {
            (one.edge.source.layer, one.edge.source.head)
            for one in found
            if one.edge.target in targets
            and one.edge.source.layer is not None
            and one.edge.source.head is not None
        }
    )


def _row(one: Drawn) -> PathRow:
    edge = one.edge
    return PathRow(name_of(edge.source), head_name(*edge.target), edge.share, one.strength)
