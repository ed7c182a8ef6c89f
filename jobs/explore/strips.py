"""Strips: a picture from each tenth of all pictures, from least to most along a head's text."""

from jobs.explore.page import Later, Panel, State


def strip(index: int, text: str, head: str, title: str, lead: str | None = None) -> Later:
    """Return the strip of a text of a head, drawn after its page; `index` keeps keys apart."""

    def draw(state: State) -> Panel:
        return Panel(
            f"strip{index}",
            title,
            "strip",
            state.ask("head_strip", text=text, head=head),
            {"head": head, "text": text},
            wide=True,
            lead=lead,
        )

    return Later(f"strip{index}", title, draw, rows=5, wide=True)
