"""`/search?text=`: pictures by a text: by the whole embedding and by each strong head."""

from collections.abc import Callable, Sequence

from jobs.explore.page import Page, Panel, Route, State
from warehouse.database.sqltext import Sql, Value, render

WHOLE = "whole"


def make(state: State) -> Page:
    """Return the page of a text; its answers come after it, since they may need the model."""
    text = state.query.get("text", "").strip()
    context = {"text": text}
    if not text:
        return Page("Search", (), "search", "Find pictures by a text.", "search", context)
    return Page(
        title=text,
        lead="The pictures nearest to the text by the whole embedding, and by each of the heads "
        "that tell pictures apart along it.",
        kind="search",
        panels=(Panel("typed", "Answers", "typed", context=context, wide=True, bare=True),),
        header="search",
        context=context,
    )


def answers(state: State, embed: Callable[[str], Sequence[float]]) -> tuple[Panel, ...]:
    """Return the panels of a text: of the whole embedding, and of each strong head, drawn later.

    With `head` in the query, that head's alone.

    Args:
        state: with `text`.
        embed: gives the unit-norm embedding of a text that is in no pool of the scan.
    """
    text = state.query.get("text", "").strip()
    vector = _vector(state, text, embed)
    head = state.query.get("head")
    if head:
        return (_by_head(state, vector, head),)
    whole = Panel(
        WHOLE,
        "By the whole embedding",
        "neighbours",
        state.ask("search_whole", vector=vector),
        {"head": None},
        lead="Score: the cosine of picture and text.",
    )
    strong = state.ask("search_heads", vector=vector)
    if strong.complaint is not None:
        return whole, Panel("heads", "By head", "table", strong)
    later = tuple(
        Panel(
            f"by-{row['name']}",
            f"By {row['name']}",
            "later",
            context={"rows": 8, "narrow": 8},
            rest=state.url("typed", text=text, head=row["name"], share=f"{row['explained']:.3f}"),
        )
        for row in strong.rows
    )
    chosen = Panel(
        "heads",
        "Heads that tell pictures apart along it",
        "heads",
        strong,
        lead="By the variance over pictures of what each adds to the cosine with the text; "
        "explained is its share of the head's own variance.",
    )
    return whole, *later, chosen


def _by_head(state: State, vector: Value, head: str) -> Panel:
    share = state.query.get("share")
    about = f"{float(share):.0%} of what it writes varies along this text. " if share else ""
    return Panel(
        f"by-{head}",
        f"By {head}",
        "neighbours",
        state.ask("search_head", vector=vector, head=head),
        {"head": None, "link": state.url("head", head)},
        lead=about + "Score: what the head adds to the cosine, beyond its mean.",
    )


def _vector(state: State, text: str, embed: Callable[[str], Sequence[float]]) -> Value:
    """Return a text's embedding as SQL: by its pool where one has it; else in numbers."""
    known = state.ask("search_text", text=text)
    if known.first is not None and known.first["embedding"] is not None:
        return Sql(f"({known.sql})")
    return render(":numbers", numbers=[float(f"{x:.9g}") for x in embed(text)])


ROUTE = Route("/search", "search", make, menu="Search", order=3)
