"""The model of a scan, loaded again: for texts, and for pictures that are not in the warehouse."""

import numpy as np
from jaxtyping import Float

from jobs import console
from jobs.worker import load_checked
from pipeline.towers import LoadedModel
from schemas.errors import UsageError
from schemas.manifest import ScanRecord
from warehouse.layout import Warehouse
from warehouse.pools import Pool, read_embeddings, write_embeddings


def load_for(
    record: ScanRecord, model: str | None = None, pretrained: str | None = None
) -> LoadedModel:
    """Load the model that made a scan, from where scan.json says, or from elsewhere.

    Raises:
        UsageError: it is not there any more; or what is given is another model.
    """
    try:
        return load_checked(
            model or record.model_path, pretrained or record.pretrained_path, record
        )
    except UsageError as error:
        raise UsageError(
            f"{error}; if the files of scan {record.scan_id} have moved, say where with --model "
            "and --pretrained"
        ) from error


def pool_embeddings(
    warehouse: Warehouse,
    pool: Pool,
    record: ScanRecord,
    model: str | None = None,
    pretrained: str | None = None,
) -> Float[np.ndarray, "text d_joint"]:
    """Return a pool's unit-norm text embeddings by the scan's model, computed once and kept."""
    weights = record.model.weights_sha256
    made_for = pool.provenance.get("weights_sha256", weights)
    if made_for != weights:
        raise UsageError(
            f"pool {pool.name} holds vectors of another model ({made_for[:8]}, this scan has "
            f"{weights[:8]}); make one for this scan"
        )
    kept = read_embeddings(warehouse, pool.name, weights, record.precision)
    if kept is not None and len(kept) == len(pool.texts):
        return kept
    loaded = load_for(record, model, pretrained)
    batch = 256
    found = []
    with console.progress(f"Encoding pool {pool.name}", len(pool.texts), "texts") as advance:
        for start in range(0, len(pool.texts), batch):
            found.append(loaded.encode_text(list(pool.texts[start : start + batch])).numpy())
            advance(min(start + batch, len(pool.texts)))
    embeddings = np.concatenate(found)
    write_embeddings(warehouse, pool.name, weights, record.precision, embeddings)
    return embeddings
