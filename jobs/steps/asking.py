"""Who asks a language model, with the replies of all earlier runs on a warehouse."""

from pathlib import Path

from pipeline.texts.llm import Asker
from pipeline.texts.server import Server

# Raw replies of language models, below a warehouse.
_REPLIES = Path("pools") / ".replies"


def asker_of(warehouse: Path, server: Server) -> Asker:
    """Return what asks a server; a question that was answered before is not paid for again."""
    return Asker(server, warehouse / _REPLIES)
