"""Strips: a picture from each tenth of all pictures, from least to most along a head's text."""

from collections.abc import Callable

from jobs.explore.page import Later, Panel, State


def strip(
    index: int,
    text: str,
    head: str,
    title: str,
    alike: Callable[[str], str],
    lead: str | None = None,
) -> Later:
    """Return the strip of a text of a head, drawn after its page.

    Args:
        index: keeps keys apart.
        text: the text.
        head: the head.
        title: of the panel.
        alike: of a picture's key, the address of this page with the pictures nearest to it.
        lead: a sentence under the title.
    """

    def draw(state: State) -> Panel:
        return Panel(
            f"strip{index}",
            title,
            "strip",
            state.ask("head_strip", text=text, head=head),
            {"head": head, "text": text, "alike": alike},
            wide=True,
            lead=lead,
        )

    return Later(f"strip{index}", title, draw, rows=6, wide=True)
