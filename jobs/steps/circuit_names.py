"""What a component of a circuit is called."""

from pipeline.heads.edge_source import Source
from schemas.names import head_name


def name_of(source: Source) -> str:
    """Return a component's name: L2H3, MLP 2, bias 2, init; as macro head_feeders says it."""
    if source.layer is None:
        return source.kind
    if source.head is not None:
        return head_name(source.layer, source.head)
    return f"{'MLP' if source.kind == 'mlp' else source.kind} {source.layer}"
