"""`/role/colour`: the heads that carry a role, and the pictures spread along it."""

from jobs.explore.page import Later, Page, Panel, Route, State
from jobs.explore.strips import strip
from schemas.text import how_many


def make(state: State) -> Page:
    """Return a role's page."""
    role = state.path["role"]
    heads = state.ask("role_heads", role=role)
    strongest = str(heads.rows[0]["name"]) if heads.rows else None
    panels: list[Panel | Later] = [
        Panel(
            "heads",
            "Its heads",
            "heads",
            heads,
            empty=f"no head carries the role {role!r} in this basis",
            command=state.roles_command,
            wide=True,
        )
    ]
    if strongest is not None:
        for index, row in enumerate(state.ask("head_texts", head=strongest).rows[:3]):
            panels.append(_strip(state, index, str(row["text"]), strongest))
        title = f"Alike in {role}"
        panels.append(Later("nearest", title, lambda s: _nearest(s, role), 12, True, narrow=21))
    return Page(
        title=role,
        lead=f"About {role}: {how_many(len(heads.rows), 'head')}."
        + (f" The strongest is {strongest}." if strongest else ""),
        kind="role",
        panels=tuple(panels),
    )


def _strip(state: State, index: int, text: str, head: str) -> Later:
    title = f"Spread by {head}: from least to most “{text}”"
    return strip(index, text, head, title, lambda key: _alike(state, key))


def _alike(state: State, key: str) -> str:
    """Return the address of the page with the pictures nearest to one."""
    return state.url("role", state.path["role"], picture=key)


def _nearest(state: State, role: str) -> Panel:
    first = state.ask("any_picture").first
    key = state.query.get("picture") or (str(first["key"]) if first else "")
    return Panel(
        "nearest",
        f"Alike in {role}",
        "nearest",
        state.ask("picture_by_role", key=key, role=role),
        {
            "key": key,
            "head": None,
            "asked": state.ask("picture", key=key).first,
            "alike": lambda one: _alike(state, one),
        },
        wide=True,
        lead="The pictures nearest to the first one by all of these heads together; press “alike” "
        "under any picture of this page to ask of that one.",
    )


def make_list(state: State) -> Page:
    """Return the page of all roles."""
    return Page(
        title="Roles",
        lead="What heads write about, by the texts that span them.",
        kind="role",
        panels=(
            Panel(
                "roles",
                "Roles",
                "roles",
                state.ask("roles"),
                empty="no role has been looked for in this basis",
                command=state.roles_command,
                wide=True,
            ),
        ),
    )


ROUTE = Route("/role/{role:any}", "role", make)
LIST = Route("/roles", "roles", make_list, menu="Roles", order=1)
