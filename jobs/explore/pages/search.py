"""`/search?text=`: pictures by a text: by the whole embedding and by each strong head."""

from jobs.explore.page import Later, Page, Panel, Route, State


def make(state: State) -> Page:
    """Return the answer to a text; the whole embedding needs the model, heads' own texts do not."""
    text = state.query.get("text", "").strip()
    if not text:
        return Page("Search", (), "search", "Find pictures by a text.", header="search")
    heads = state.ask("search_heads", text=text)
    panels: list[Panel | Later] = [
        Panel(
            "typed",
            "By the whole embedding and by head",
            "typed",
            context={"text": text},
            wide=True,
        )
    ]
    for row in heads.rows:
        panels.append(_by_head(str(row["text"]), str(row["name"]), float(row["explained"])))
    return Page(
        title=text,
        lead="By the whole embedding, and by each head whose own texts hold these words.",
        kind="search",
        panels=tuple(panels),
        header="search",
        context={"text": text},
    )


def _by_head(text: str, head: str, explained: float) -> Later:
    title = f"“{text}” by {head}"

    def draw(state: State) -> Panel:
        return Panel(
            f"head-{head}-{text}",
            title,
            "neighbours",
            state.ask("search_by_head", text=text, head=head),
            {"head": head},
            wide=True,
            lead=f"The text explains {explained:.1%} of this head's variance.",
        )

    return Later(f"head-{head}-{text}", title, draw, rows=5, wide=True)


ROUTE = Route("/search", "search", make, menu="Search", order=3)
