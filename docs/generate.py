"""Write the pages of docs/ that are made from the commands, the schemas and the imports."""

import inspect
import re
from pathlib import Path

from pydantic import BaseModel

from docs import architecture
from jobs import console
from jobs.command import Command, commands
from jobs.options import ENVIRONMENT
from pipeline.maps.method import KINDS
from pipeline.maps.registry import DECLARED
from schemas import tables
from schemas.macros import MACROS
from schemas.night import Accuracy, Drift, NightSummary, Rejects, Throughput
from schemas.relations import Macro, Table

FOLDER = Path(__file__).parent

CLI_HEAD = """# Command line

*Written by `make docs` from the commands themselves.*

Every command takes `-h`; every option can also stand in a YAML file given with `--config`, under
its name with underscores. An option on the command line goes before the file, the file before the
environment. `HEADATLAS_WAREHOUSE` stands in for `--warehouse`. `--debug` shows tracebacks.

Results go to standard output: drawn tables on a terminal, tab-separated otherwise (`sql`: exact
CSV, or as `--format` says). Progress, notes, warnings and errors go to standard error: for people
on a terminal, JSON lines otherwise. Control characters in names and texts are written out
(`\\x1b`). Each JSON line has `time` (UTC), `level`, `run` (the same for all lines of one process)
and `event`, one of

| event | level | what it holds |
|---|---|---|
EVENTS

Exit codes: 0 done; 1 failed; 2 wrong usage or configuration; 3 done, but more rejects than
`--max-rejects` allows; 4 another run holds the scan; 130 interrupted.
"""


def cli() -> str:
    """Return docs/cli.md."""
    lines = [f"| `{name}` | {level} | {said} |" for name, (level, said) in console.EVENTS.items()]
    return CLI_HEAD.replace("EVENTS", "\n".join(lines)) + "".join(map(_command, commands()))


def _command(command: Command) -> str:
    lines = [f"\n## headatlas {command.name}\n", command.help, ""]
    places = " ".join(name.upper() for name in command.arguments)
    lines += ["```", f"headatlas {command.name} {places} [OPTIONS]".replace("  ", " "), "```", ""]
    lines += ["| option | meaning | default |", "|---|---|---|"]
    for name, field in command.model.options().items():
        shown = name.upper() if name in command.arguments else f"`--{name.replace('_', '-')}`"
        if field.is_required():
            variable = ENVIRONMENT.get(name)
            default = f"required (or `{variable}`)" if variable else "required"
        else:
            value = field.get_default(call_default_factory=True)
            default = "" if value in (None, (), [], {}, False) else f"`{value}`"
        lines.append(f"| {shown} | {_cell(field.description or '')} | {default} |")
    for name, text in command.flags.items():
        lines.append(f"| `--{name.replace('_', '-')}` | {_cell(text)} | |")
    return "\n".join(lines) + "\n"


PYTHON_HEAD = """# Python

*Written by `make docs` from the commands themselves.*

Every command is a function of `headatlas`; `help(ha.scan)` lists its options.

```python
import headatlas as ha

done = ha.scan(
    "pictures/",
    model="ViT-B-16",
    pretrained="laion2b_s34b_b88k",
    labels="folder",
    warehouse="atlas",
)
print(done.images, done.rejects, done.reasons)

ha.pool_import("general", warehouse="atlas")
ha.textspan(pool="general", warehouse="atlas", publish=True)
texts = ha.sql("FROM head_texts('L11H3')", warehouse="atlas")  # an Arrow table
alike = ha.nearest("cat.jpg", head="L11H3", warehouse="atlas")  # alike.neighbours
```

Options are keywords, spelled with underscores, with the defaults of the command line; those that
the command line takes by position may be given so. Paths may be text. What may be given again on
the command line is a tuple, list or one text. `HEADATLAS_WAREHOUSE` stands in for `warehouse`.

What is returned is a frozen dataclass (its docstring says what its fields mean), or an Arrow
table for SQL. Errors are exceptions of `ha.errors`, one line each; one that comes after work was
done carries it as `error.done` (`TooManyRejects`).

A function publishes only with `publish=True`, and says so when it has not: until then SQL sees
the version before. `import headatlas` takes a fraction of a second: torch and Ray are imported by
the functions that need them. Everything works in a notebook, inside its running event loop, and
beside a folder of one's own called `jobs` or `schemas`. [A notebook](notebook.ipynb) goes the
whole way.

Arrow tables become others by `.to_pandas()`, `polars.from_arrow(...)` or `duckdb.arrow(...)`; the
database itself, `atlas/atlas.duckdb`, opens read-only in any DuckDB client.

| function | what it does | returns |
|---|---|---|
"""


def python() -> str:
    """Return docs/python.md."""
    return PYTHON_HEAD + "".join(map(_function, commands()))


def _function(command: Command) -> str:
    name = command.name.replace(" ", "_").replace("-", "_")
    required = [n for n, f in command.model.options().items() if f.is_required()]
    given = [n for n in command.arguments if n in required]
    given += [f"{n}=" for n in required if n not in given and n != "warehouse"]
    returned = inspect.signature(command.run).return_annotation
    shown = returned if isinstance(returned, str) else inspect.formatannotation(returned)
    shown = re.sub(r"\b(?:\w+\.)+(?=\w)", "", shown)
    said = _cell(command.help.partition("\n\n")[0].replace("\n", " "))
    return f"| `ha.{name}({', '.join([*given, '...'])})` | {said} | `{_cell(shown)}` |\n"


NIGHT_HEAD = """# The summary of a night

*Written by `make docs` from `schemas/night.py`.*

However a night of `headatlas refresh` ends, it is told as one JSON object: written to the file that
the plan names as `summary`, and handed to its `on_finish`: a command (a list of words, no shell),
which gets it on standard input and may take 60 seconds, or an http(s) URL, which it is posted to
(10 seconds to answer, one retry). A URL's user and password are sent as Basic authorization, and
neither said nor stored. What goes wrong in telling is a warning, and no more.

```yaml
summary: /srv/atlas/night.json
on_finish: [/srv/atlas/alarm.sh]          # or: https://alarms.example.org/headatlas
```
"""


def night() -> str:
    """Return docs/night.md."""
    parts = (NightSummary, Rejects, Throughput, Accuracy, Drift)
    return NIGHT_HEAD + "".join(map(_document, parts))


def _document(model: type[BaseModel]) -> str:
    lines = [f"\n## {model.__name__}\n", inspect.getdoc(model) or "", ""]
    lines += ["| field | type | meaning |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        kind = re.sub(r"\b(?:\w+\.)+(?=\w)", "", inspect.formatannotation(field.annotation))
        lines.append(f"| `{name}` | `{_cell(kind)}` | {_cell(field.description or '')} |")
    return "\n".join(lines) + "\n"


WAREHOUSE_HEAD = """# The warehouse and its SQL

*Written by `make docs` from the declarations in `schemas/`.*

`headatlas publish` builds a plain DuckDB database from the files of a warehouse: `atlas.duckdb` is
a link to its newest version. Any DuckDB client reads it, with none of our code:

    duckdb -readonly atlas/atlas.duckdb

Open it read-only: an open that may write locks out every second reader. A version that is open
stays as it is when a newer one is published. Views carry absolute paths; a warehouse that was moved
is published again. In a reader that cannot do so, `SET VARIABLE headatlas_root = 'FOLDER'`
redirects the views of its connection. DuckDB 1.4 and later open the file.

Attached to another database, tables and views work as they are; macros need the database on the
search path, since DuckDB looks up what a macro names where the question is asked:

    ATTACH 'atlas/atlas.duckdb' AS a (READ_ONLY);
    USE a;                                -- or, to keep tables of one's own in reach,
    SET search_path = 'a,memory';
    FROM head_texts('L22H11');

A database may hold several scans. Schema `default_scan` has every table that names a scan, as a
view of the default scan alone: `FROM default_scan.heads`.

A macro that is asked for what is not there raises an error that says what is, whatever stands
around it in the query; only where the question is not asked at all (`LIMIT 0`, `WHERE false`) is it
quiet.

Every table, column and macro carries a COMMENT. Layers and heads count from 0; a head's name is
`L22H11`, and where a macro takes `layer, head` it also takes the name alone. `scan :=` defaults to
the scan that was newest when the database was published.
"""


def warehouse() -> str:
    """Return docs/warehouse.md."""
    parts = [WAREHOUSE_HEAD, "\n# Tables and views\n", *map(_table, tables.TABLES)]
    return "".join([*parts, "\n# Macros\n", *map(_macro, MACROS)])


def _table(table: Table) -> str:
    lines = [f"\n## {table.name}\n", f"*{table.kind}.* {table.comment}", ""]
    lines += ["| column | type | meaning |", "|---|---|---|"]
    lines += [f"| `{c.name}` | {c.type} | {_cell(c.comment)} |" for c in table.columns]
    if table.open:
        lines.append("| ... | | One more column for each name in the pictures' metadata. |")
    return "\n".join([*lines, "", "```sql", table.example, "```", ""])


def _macro(macro: Macro) -> str:
    lines = [f"\n## {macro.name}\n", f"`{macro.signature}`", "", macro.comment, ""]
    lines += ["| parameter | meaning | default |", "|---|---|---|"]
    for p in macro.parameters:
        default = "" if p.default is None else f"`{p.default}`"
        lines.append(f"| `{p.name}` | {_cell(p.comment)} | {default} |")
    if macro.columns:
        lines += ["", "| column | type | meaning |", "|---|---|---|"]
        lines += [f"| `{c.name}` | {c.type} | {_cell(c.comment)} |" for c in macro.columns]
    return "\n".join([*lines, "", "```sql", macro.example, "```", ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


METHODS_START = "<!-- made by docs.generate from pipeline/maps/methods -->"
METHODS_END = "<!-- end -->"


def method() -> str:
    """Return docs/method.md with its tables of map methods made anew."""
    text = (FOLDER / "method.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(METHODS_START)
    _, _, after = rest.partition(METHODS_END)
    return before + "\n".join([METHODS_START, *_methods(), METHODS_END]) + after


def _methods() -> list[str]:
    """Return the table of methods, and which image encoders each holds for."""
    lines = ["| method | map | source | options |", "|---|---|---|---|"]
    for one in DECLARED.values():
        options = "; ".join(
            f"`{o.name}`" + (f" = {o.default}" if o.default else "") + f": {o.meaning}"
            for o in one.options
        )
        cells = (f"`{one.name}`", one.shows, one.source, options)
        lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    lines += ["", "Image encoders that each holds for; the others it refuses by name:", ""]
    lines += ["| method | " + " | ".join(KINDS) + " |", "|---" * (len(KINDS) + 1) + "|"]
    lines.append("| as | " + " | ".join(kind.models for kind in KINDS.values()) + " |")
    for one in DECLARED.values():
        marks = ["yes" if one.towers.holds(kind.traits) else "no" for kind in KINDS.values()]
        lines.append(f"| `{one.name}` | " + " | ".join(marks) + " |")
    return lines


def pages() -> dict[Path, str]:
    """Return every generated page by its path."""
    return {
        FOLDER / "cli.md": cli(),
        FOLDER / "python.md": python(),
        FOLDER / "method.md": method(),
        FOLDER / "warehouse.md": warehouse(),
        FOLDER / "night.md": night(),
        **architecture.pages(),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
