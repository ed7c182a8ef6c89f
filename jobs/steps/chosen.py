"""Which heads the options --layers, --heads and --role leave."""

from collections.abc import Collection

import torch
from jaxtyping import Bool
from torch import Tensor

from pipeline.towers.models import LoadedModel
from schemas.errors import UsageError
from schemas.names import head_name, parse_head, parse_layers


def chosen_heads(
    layers: str,
    names: Collection[str],
    role_heads: Collection[tuple[int, int]],
    n_layers: int,
    n_heads: int,
) -> Bool[Tensor, "n_layers n_heads"]:
    """Return the heads that are in the layers named and, where heads are named, among these.

    Raises:
        UsageError: the model has no such head or layer, or none is left.
    """
    named = {parse_head(name) for name in names} | set(role_heads)
    for layer, head in sorted(named):
        if layer >= n_layers or head >= n_heads:
            raise UsageError(
                f"no head {head_name(layer, head)}: this model has layers 0 to {n_layers - 1} "
                f"and heads 0 to {n_heads - 1}"
            )
    keep = torch.zeros(n_layers, n_heads, dtype=torch.bool)
    for layer in parse_layers(layers, n_layers):
        for head in range(n_heads):
            keep[layer, head] = not named or (layer, head) in named
    if not bool(keep.any()):
        raise UsageError("no head is left: the heads named are not in the layers named")
    return keep


def heads_mapped(loaded: LoadedModel) -> tuple[int, int]:
    """Return how many layers and heads maps are made of: of the trunk, or with the pool's."""
    pool, record = loaded.tower.readout.pool, loaded.record
    return (
        (record.n_layers, record.n_heads) if pool is None else (record.n_layers + 1, pool.n_heads)
    )


def heads_to_map(
    loaded: LoadedModel,
    layers: str = "all",
    names: Collection[str] = (),
    role_heads: Collection[tuple[int, int]] = (),
) -> Bool[Tensor, "n_layers n_heads"]:
    """Return the heads whose maps are asked for; of a tower that pools, the pool's have maps.

    Raises:
        UsageError: as `chosen_heads`; or a head of the trunk is named, or none but such is left,
            where tokens reach the embedding through the pool's heads.
    """
    keep = chosen_heads(layers, names, role_heads, *heads_mapped(loaded))
    pool = loaded.tower.pool_layer
    if pool is not None and not bool(keep[pool].any()):
        last = head_name(pool, heads_mapped(loaded)[1] - 1)
        raise UsageError(
            f"no map: tokens of {loaded.tower.family} reach the embedding through its pool; "
            f"ask for its heads, {head_name(pool, 0)} to {last}"
        )
    return keep
