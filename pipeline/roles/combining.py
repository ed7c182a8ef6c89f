"""A role for every head from its enrichment: the combined test, and what counts as clear."""

from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Float

from pipeline.roles.enrichment import Enrichment
from pipeline.roles.rotation_null import Turned


@dataclass(frozen=True)
class Role:
    """What the texts of one head say.

    Attributes:
        role: the property; None: no clear role.
        top: the property with the largest share, clear or not; None where nothing was picked.
        score: the share of explained variance that texts of `top` carry.
        p_value: of `top`: twice the smaller of the two below, or p_labels where it stands alone.
        q_value: the same over all heads and properties.
        p_labels: of permuted labels.
        p_turned: of turned heads; None where not run.
        note: one line.
    """

    role: str | None
    top: str | None
    score: float
    p_value: float
    q_value: float
    p_labels: float
    p_turned: float | None
    note: str


def combined(
    p_labels: Float[np.ndarray, "head property"], p_turned: Float[np.ndarray, "head property"]
) -> Float[np.ndarray, "head property"]:
    """Return twice the smaller p-value: valid whichever of the two nulls is true of a head."""
    return np.minimum(1.0, 2 * np.minimum(p_labels, p_turned))


def roles_from(found: Enrichment, second: Turned | None, *, level: float = 0.05) -> list[Role]:
    """Name each head's role: the property with the largest share, if its q-value is below `level`.

    A head whose largest share is not significant has no clear role, even when a smaller share is:
    a role is what the head mostly does.
    """
    if not found.properties:
        nothing = Role(None, None, 0.0, 1.0, 1.0, 1.0, None, "the pool names no property")
        return [nothing] * len(found.share)
    p = found.p_value if second is None else combined(found.p_value, second.p_value)
    q = scipy.stats.false_discovery_control(p.ravel()).reshape(p.shape)
    roles = []
    for head, top in enumerate(found.share.argmax(axis=1)):
        share = float(found.share[head, top])
        name = found.properties[top] if share > 0 else None
        clear = name is not None and q[head, top] < level
        carried = f"{share:.0%} of explained variance is carried by texts on {name}"
        picks = f"{found.effective_picks[head]:.1f} effective picks"
        note = f"{carried}, {picks}" if name else "no variance is explained by texts"
        roles.append(
            Role(
                name if clear else None,
                name,
                share,
                float(p[head, top]),
                float(q[head, top]),
                float(found.p_value[head, top]),
                None if second is None else float(second.p_value[head, top]),
                note if clear else f"no clear role: {note}",
            )
        )
    return roles
