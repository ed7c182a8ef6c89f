"""Random sets of heads beside a chosen one, with as many heads of each layer."""

from collections.abc import Mapping, Sequence

import numpy as np

from jobs.steps.whatif import Head


def layer_matched_sets(
    chosen: Sequence[Head], heads_of: Mapping[int, int], repeats: int, seed: int
) -> list[list[Head]]:
    """Draw sets with the same number of heads of each layer as are chosen (EFFECTS §3).

    They are drawn among a layer's other heads where these suffice, else among all of the layer.

    Args:
        chosen: the heads.
        heads_of: how many heads each of their layers has.
        repeats: sets.
        seed: of the draw.

    Returns:
        The sets; none where every layer is chosen whole, since no other set is as large.
    """
    counts = {layer: sum(n == layer for n, _ in set(chosen)) for layer, _ in sorted(chosen)}
    if all(heads_of[layer] == count for layer, count in counts.items()):
        return []
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(repeats):
        drawn: list[Head] = []
        for layer, count in counts.items():
            others = [h for h in range(heads_of[layer]) if (layer, h) not in set(chosen)]
            pool = others if len(others) >= count else list(range(heads_of[layer]))
            drawn += [(layer, h) for h in sorted(rng.choice(pool, count, replace=False).tolist())]
        found.append(drawn)
    return found
