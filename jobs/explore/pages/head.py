"""`/head/L22H11`: a head's story: its role, texts, pictures, attributes, neighbours and worth."""

from jobs.explore.charts import against, bars, dumbbells, texts
from jobs.explore.database import Answer
from jobs.explore.page import Later, Page, Panel, Route, State
from jobs.explore.strips import strip
from schemas.text import how_many

STRIPS = 4
EFFECTS_SHOWN = 8
ATTRIBUTES = "Explained by the pictures' own columns"


def make(state: State) -> Page:
    """Return a head's page; what needs its pictures' vectors is drawn after the page."""
    name = state.path["head"].upper()
    facts = state.ask("head", head=name)
    spans = state.ask("head_texts", head=name)
    role = state.ask("head_role", head=name)
    first = role.first
    firsts = [str(row["text"]) for row in spans.rows[:STRIPS]]
    panels: list[Panel | Later] = [
        *((_role(state, role), _texts(state, spans)) if state.shows("role", "texts") else ()),
        Later("attributes", ATTRIBUTES, lambda s: _attributes(s, name), rows=9),
        *(_strip(state, i, text, name) for i, text in enumerate(firsts)),
        Later("nearest", "Alike by this head", lambda s: _nearest(s, name), 12, True, narrow=25),
        Later("off", "Switched off", lambda s: _off(s, name), rows=14),
        Later("effects", "Total against direct effect", lambda s: _effects(s, name), 20, narrow=23),
        Later("retrieval", "As a search engine", lambda s: _retrieval(s, name), rows=9),
        *_paths(state, name),
    ]
    return Page(
        title=name,
        lead=_lead(facts, first["role"] if first else None, spans),
        kind="head",
        panels=tuple(panels)
        if facts.rows
        else (Panel("head", name, "table", facts, empty=f"no head {name} in scan {state.scan}"),),
        header="head",
        context={"facts": facts.first, "name": name},
    )


def _lead(facts: Answer, role: str | None, spans: Answer) -> str:
    """Say in one sentence what the head does, for someone who has read nothing."""
    one = facts.first
    if one is None:
        return ""
    share = f"{one['variance_share']:.1%} of what distinguishes one embedding from another"
    said = f"This head writes about {role}" if role else "This head has no one clear role"
    examples = " and ".join(f"“{row['text']}”" for row in spans.rows[:2])
    said += f"; its strongest texts are {examples}" if examples else ""
    heads = how_many(int(one["heads"]), "head")
    return f"{said}. It carries {share}, place {one['place']} of {heads}."


def _role(state: State, found: Answer) -> Panel:
    return Panel(
        "role",
        "Role",
        "role",
        found,
        empty="no role has been looked for in this basis",
        command=state.roles_command,
        lead="The property that most of its explained variance is about, and how sure that is.",
    )


def _texts(state: State, found: Answer) -> Panel:
    roles = [str(row["role"]) for row in state.ask("roles").rows]
    return Panel(
        "texts",
        "Texts that span it",
        "chart",
        found,
        {"chart": texts(found.rows, roles) if found.rows else None, "alt": _spoken(found)},
        tall=bool(found.rows),
        empty="no TextSpan basis",
        command=f"headatlas textspan --pool POOL --scan {state.scan}",
        lead="Bars: variance explained so far. Grey ticks: the most that as many directions could.",
    )


def _spoken(found: Answer) -> str:
    return "; ".join(f"{r['text']} {r['cumulative']:.0%}" for r in found.rows)


def _strip(state: State, index: int, text: str, name: str) -> Later:
    lead = "One picture from the middle of each tenth of all pictures."
    title = f"From least to most “{text}”"
    return strip(index, text, name, title, lambda key: _alike(state, name, key), lead)


def _alike(state: State, name: str, key: str) -> str:
    """Return the address of the page with the pictures nearest to one."""
    kept = {k: v for k, v in state.query.items() if k not in ("picture", "panel", "scan", "basis")}
    return state.url("head", name, **kept, picture=key)


def _attributes(state: State, name: str) -> Panel:
    found = state.ask("head_attributes", head=name)
    return Panel(
        "attributes",
        ATTRIBUTES,
        "chart",
        found,
        {
            "chart": bars(found.rows, "attribute", "r2", "R²") if found.rows else None,
            "alt": "; ".join(f"{r['attribute']} {r['r2']:.0%}" for r in found.rows),
        },
        empty="no attribute has been measured",
        command=f"{state.roles_command} --attributes",
        lead="Share of the head's variance between the values of a column.",
    )


def _retrieval(state: State, name: str) -> Panel:
    return Panel(
        "retrieval",
        "As a search engine",
        "table",
        state.ask("head_retrieval", head=name),
        empty="retrieval has not been scored",
        command=f"headatlas evaluate --scan {state.scan}",
        lead="Share of the k nearest pictures that have the asked picture's value: by this head, "
        "by the whole embedding, by chance.",
    )


def _nearest(state: State, name: str) -> Panel:
    key = state.query.get("picture")
    if key is None:
        first = state.ask("any_picture").first
        key = str(first["key"]) if first else ""
    return Panel(
        "nearest",
        "Alike by this head",
        "nearest",
        state.ask("head_nearest", key=key, head=name),
        {
            "key": key,
            "head": name,
            "asked": state.ask("picture", key=key).first,
            "alike": lambda one: _alike(state, name, one),
        },
        wide=True,
        lead="The pictures nearest to the first one in what this head writes; press “alike” under "
        "any picture of this page to ask of that one.",
    )


def _off(state: State, name: str) -> Panel:
    known = state.ask("classifiers")
    if not known.rows:
        return Panel(
            "off",
            "Switched off",
            "table",
            known,
            empty="no zero-shot classifier",
            command=f"headatlas zeroshot CLASSES --scan {state.scan}",
        )
    classifier = str(known.rows[0]["classifier"])
    found = state.ask(
        "head_off", classifier=classifier, head=name, by=state.query.get("by", "label")
    )
    groups = [r for r in found.rows if r["kind"] == "group"]
    moved = sorted(groups, key=lambda r: r["after"] - r["before"])[:12]
    return Panel(
        "off",
        "Switched off",
        "groups",
        found,
        {
            "chart": dumbbells(moved) if moved else None,
            "rows": found.rows,
            "classifier": classifier,
            "link": state.url("what-if", classifier, heads=[name]),
        },
        lead=f"Accuracy of classifier {classifier} before (ring) and after (dot) the head is "
        "replaced by its mean; the groups that lose most first.",
    )


def _effects(state: State, name: str) -> Panel:
    """Return what the head does to each target, itself and with later layers' work."""
    run = state.ask("effects_runs").first
    found = state.ask("head_effects", head=name, effects=run["effects"] if run else None)
    mean = {
        column: sum(row[column] for row in found.rows) / max(len(found.rows), 1)
        for column in ("abs_direct", "abs_total")
    }
    return Panel(
        "effects",
        "Total against direct effect",
        "effects",
        found,
        {
            "chart": against(found.rows) if found.rows else None,
            "alt": "; ".join(
                f"{r['target']} direct {r['abs_direct']:.3g} total {r['abs_total']:.3g}"
                for r in found.rows[:12]
            ),
            "mean": mean,
            "shown": EFFECTS_SHOWN,
        },
        empty="effects have not been measured for this scan",
        command=f"headatlas effects --classifier NAME --scan {state.scan}",
        lead="One point a target. Direct: what the head itself adds to the cosine. Total: what the "
        "picture loses when the model runs on without it. Below the line, later layers make up "
        "for part of it; above it, they build on it.",
    )


def _paths(state: State, name: str) -> list[Later]:
    """Return the panels of paths and alike heads, from their tables."""
    asked = (
        (
            "feeders",
            "Fed by",
            f"headatlas edges --scan {state.scan}",
            "none: it reads from no component",
        ),
        (
            "fed",
            "Feeds",
            f"headatlas edges --scan {state.scan}",
            "none: no later head reads from it",
        ),
        (
            "alike",
            "Heads alike",
            f"headatlas similarity --scan {state.scan}",
            "none: no other head is like it",
        ),
    )
    return [_path(name, *one) for one in asked]


def _path(name: str, key: str, title: str, command: str, none: str) -> Later:
    def draw(state: State) -> Panel:
        found = state.ask(f"head_{key}", head=name)
        missing = found.complaint is not None
        return Panel(
            key,
            title,
            "heads",
            found,
            empty="not measured for this scan" if missing else none,
            command=command if missing else None,
        )

    return Later(key, title, draw, rows=8)


ROUTE = Route("/head/{head}", "head", make)
