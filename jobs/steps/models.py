"""The model of a scan, loaded again: for texts, and for pictures that are not in the warehouse.

torch is imported when a model is loaded, not before: most commands can do without.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from jobs import console
from schemas.errors import StoreError, UsageError
from schemas.manifest import ScanRecord
from warehouse.files.layout import Warehouse
from warehouse.store.pools import EmbeddedBy, Pool, read_embeddings, write_embeddings

if TYPE_CHECKING:
    from pipeline.towers.models import LoadedModel

# Prompts encoded at a time.
_PROMPTS = 256


def load_for(
    record: ScanRecord, model: str | None = None, pretrained: str | None = None
) -> "LoadedModel":
    """Load the model that made a scan, from where scan.json says, or from elsewhere.

    For commands with the options --model and --pretrained: an error names them.

    Raises:
        UsageError: it is not there any more.
        StoreError: what is there is another model.
    """
    where = "if the model's files have moved, say where with --model and --pretrained"
    return _loaded(record, model or record.model_path, pretrained or record.pretrained_path, where)


def load_recorded(record: ScanRecord) -> "LoadedModel":
    """Load the model that made a scan, from where scan.json says: for what has no such options.

    Raises:
        UsageError, StoreError: as `load_for`.
    """
    model, pretrained = record.model_path, record.pretrained_path
    where = f"it is looked for where the scan had it, {model} with weights {pretrained}"
    return _loaded(record, model, pretrained, f"{where}: have these there again")


def _loaded(record: ScanRecord, model: str, pretrained: str, where: str) -> "LoadedModel":
    """Load a model and check that it is the scan's; an error ends with `where` to have it."""
    console.loading(record.model.model)
    from jobs.workers.scan import load_checked

    try:
        return load_checked(model, pretrained, record)
    except (UsageError, StoreError) as error:
        said = f"the model of scan {record.scan_id} cannot be loaded: {error}; {where}"
        raise type(error)(said) from error


def pool_embeddings(
    warehouse: Warehouse,
    pool: Pool,
    record: ScanRecord,
    model: str | None = None,
    pretrained: str | None = None,
    templates: Sequence[str] = (),
) -> Float[np.ndarray, "text d_joint"]:
    """Return a pool's unit-norm text embeddings by the scan's model, computed once and kept.

    With templates, a text's embedding is the mean of its prompts' unit embeddings, renormalised.

    Raises:
        UsageError: the pool is one of vectors, and not of this model's or not to be templated.
    """
    weights = record.model.weights_sha256
    made_for = pool.provenance.get("weights_sha256")
    if made_for not in (None, weights):
        raise UsageError(
            f"pool {pool.name} holds vectors of another model ({made_for[:8]}, this scan has "
            f"{weights[:8]}); make one for this scan"
        )
    by = EmbeddedBy(weights, record.precision, tuple(templates))
    kept = read_embeddings(warehouse, pool.name, by)
    if kept is not None and len(kept) == len(pool.texts):
        return kept
    if made_for is not None:
        wanted = f"templates {templates}" if templates else f"texts in {record.precision}"
        raise UsageError(
            f"pool {pool.name} holds vectors, no texts to encode: got {wanted}; expected no "
            "templates, and a scan of the precision that the pool was made for"
        )
    loaded = load_for(record, model, pretrained)
    from pipeline.texts.class_weights import class_weights

    prompts = by.templates or ("{}",)
    batch = max(1, _PROMPTS // len(prompts))
    found = []
    with console.progress(f"Encoding pool {pool.name}", len(pool.texts), "texts") as advance:
        for start in range(0, len(pool.texts), batch):
            some = pool.texts[start : start + batch]
            found.append(class_weights(loaded.encode_text, some, prompts))
            advance(start + len(some))
    embeddings = np.concatenate(found)
    write_embeddings(warehouse, pool.name, by, embeddings)
    return embeddings
