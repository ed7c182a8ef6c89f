"""Say which of open_clip's models can be scanned, and why the others cannot.

Of each: its blocks and heads, the width of a stored vector, its read-out, its pretrained tags, and
whether `headatlas texts` decomposes its texts. The last line counts configs and tags.
"""

from typing import TYPE_CHECKING

from pydantic import Field

from jobs import console
from jobs.steps.early import check_model
from schemas.config import Config
from schemas.errors import UnknownName

if TYPE_CHECKING:
    from pipeline.towers.listing import Listed, ListedTexts

ARGUMENTS = ("names",)


class ModelsConfig(Config):
    """Options of `headatlas models`."""

    names: tuple[str, ...] = Field(default=(), description="Only these; default, all.")
    pretrained: bool = Field(default=False, description="Only those with pretrained weights.")


def run(config: ModelsConfig) -> list["Listed"]:
    """Return every config of open_clip, or those named, with what its heads are.

    Raises:
        UnknownName: open_clip has no model of that name.
    """
    for name in config.names:
        check_model(name)
    console.loading("open_clip")
    import open_clip

    from pipeline.towers.listing import list_models

    known = open_clip.list_models()
    for name in config.names:
        if name not in known:
            raise UnknownName.among("model", name, known)
    names = list(config.names or known)
    found = []
    with console.progress("Models", len(names), "models") as advance:
        for done, listed in enumerate(list_models(names), 1):
            if listed.tags or not config.pretrained:
                found.append(listed)
            advance(done)
    return found


def say(config: ModelsConfig, done: list["Listed"]) -> None:
    """Print the table, then how many can be scanned."""
    columns = ("model", "scan", "layers x heads", "pool heads", "width", "read-out", "texts")
    rows = [
        (
            one.model,
            "no" if one.reason else "yes",
            "" if one.reason else f"{one.layers} x {one.heads}",
            "" if one.pool_heads is None else f"layer {one.layers}: {one.pool_heads}",
            one.width or "",
            one.read_out,
            _texts(one.texts),
            ", ".join(one.tags),
            one.reason or one.family,
        )
        for one in done
    ]
    console.table("Models", (*columns, "tags", "why"), rows)
    able = [one for one in done if one.reason is None]
    console.note(
        f"{len(able)} of {len(done)} models decompose exactly; "
        f"{sum(len(one.tags) for one in able)} of {sum(len(one.tags) for one in done)} tags"
    )
    speaking = [one for one in able if one.texts.reason is None]
    console.note(
        f"texts of {len(speaking)} models decompose too; "
        f"{sum(len(one.tags) for one in speaking)} tags"
    )


def _texts(texts: "ListedTexts") -> str:
    if texts.reason is not None:
        return f"no: {texts.reason}"
    return f"{texts.layers} x {texts.heads}, {texts.read_out}"
