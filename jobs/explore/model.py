"""The scan's model for typed texts and heat maps: loaded on the first question that needs it.

Torch is imported here alone, inside the functions: an explorer that is asked for none of this
never loads it.
"""

import io
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.explore.database import Database
from schemas.errors import UsageError
from warehouse.files.layout import Warehouse

if TYPE_CHECKING:
    from pipeline.towers.models import LoadedModel


_ASKED = ("text", "against", "method", "head")


class Model:
    """Models by scan, each loaded once; one question at a time reaches them."""

    def __init__(self, warehouse: Warehouse, eclip: Path | None = None) -> None:
        """Load models of the scans of `warehouse`; `eclip` holds projections for that method."""
        self._warehouse, self._eclip = warehouse, eclip
        self._lock = threading.Lock()
        self._loaded: dict[str, LoadedModel] = {}

    @property
    def loaded(self) -> tuple[str, ...]:
        """The scans whose model is loaded."""
        return tuple(self._loaded)

    def text_vector(self, scan: str, text: str) -> list[float]:
        """Return a text's unit-norm embedding by the scan's model.

        Raises:
            UsageError: the text is empty, or the model is not where it was.
        """
        if not text.strip():
            raise UsageError("the text is empty; type what to look for")
        with self._lock:
            vector: list[float] = self._model(scan).encode_text([text])[0].tolist()
        return vector

    def methods(self) -> list[str]:
        """Return the names of all map methods; one that needs more than the model says so."""
        from pipeline.maps.registry import DECLARED

        return list(DECLARED)

    def heat_map(self, database: Database, query: Mapping[str, str]) -> bytes:
        """Return a picture with the map of a text over it, as PNG.

        Args:
            database: to look the picture up in.
            query: scan, image_id, text, and method or head, and a text to compare with (against).

        Raises:
            UsageError: no text, no such method or head, the picture is gone, or the method needs
                what has not been given.
            UnsupportedModel: the method does not hold for the scan's image encoder.
        """
        from jobs.explore.heat import Asked, draw
        from jobs.explore.originals import original
        from pipeline.maps.registry import given_by
        from pipeline.pictures.decode import Decoding, Rejected

        asked = Asked(
            **{
                name: said.strip()
                for name, said in query.items()
                if name in _ASKED and said.strip()
            }
        )
        if not asked.text:
            raise UsageError("the text is empty; type what to look for")
        try:
            record = self._warehouse.scan(query["scan"]).load_record()
            how = Decoding.of(record.model.preprocessing)
            picture = original(database, query["scan"], int(query["image_id"]), how)
        except Rejected as error:
            raise UsageError(error.reason) from None
        except (KeyError, ValueError):
            raise UsageError("expected scan, image_id and text") from None
        with self._lock:
            model = self._model(query["scan"])
            drawn = draw(model, picture, asked, given_by(self._eclip))
        stream = io.BytesIO()
        drawn.save(stream, "PNG")
        return stream.getvalue()

    def _model(self, scan: str) -> Any:
        if scan not in self._loaded:
            from jobs.steps.models import load_recorded

            self._loaded[scan] = load_recorded(self._warehouse.scan(scan).load_record())
        return self._loaded[scan]
