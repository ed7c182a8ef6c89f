"""SQL from .sql files: the one place where a value becomes SQL text.

Values travel as bound parameters (`$name`) wherever DuckDB takes them. DDL takes none: the text of
a view or macro must carry its values, so a file names them as `:name` and `render` writes literals.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parents[1] / "sql"
# neither a cast (`::FLOAT`) nor a default (`k := 10`)
_PLACEHOLDER: Final = re.compile(r"(?<![:\w]):([a-z_]+)\b")


class Sql(str):
    """SQL text made by this module's functions, which `render` inserts as it is."""

    __slots__ = ()


Value = Sql | str | int | float | bool | None | Sequence["Value"]


def literal(value: Value) -> Sql:
    """Return a value as an SQL literal; a sequence becomes a list.

    Raises:
        ValueError: a text holds a NUL character, which DuckDB cannot store.
    """
    if isinstance(value, Sql):
        return value
    if value is None:
        return Sql("NULL")
    if isinstance(value, bool):
        return Sql("true" if value else "false")
    if isinstance(value, str):
        return Sql("'" + _without_nul(value).replace("'", "''") + "'")
    if isinstance(value, (int, float)):
        return Sql(repr(value))
    return Sql("[" + ", ".join(literal(v) for v in value) + "]")


def identifier(name: str) -> Sql:
    """Return the name of a table or column, quoted.

    Raises:
        ValueError: it holds a NUL character.
    """
    return Sql('"' + _without_nul(name).replace('"', '""') + '"')


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError(f"{text!r} holds a NUL character, which SQL cannot carry")
    return text


def render(template: str, **values: Value) -> Sql:
    """Replace each `:name` by the literal of its value; every name must be given."""
    return Sql(_PLACEHOLDER.sub(lambda match: literal(values[match[1]]), template))


def load(name: str, **values: Value) -> Sql:
    """Return the text of `warehouse/sql/NAME.sql` with its placeholders replaced."""
    return render(template(name), **values)


def template(name: str) -> str:
    """Return the text of `warehouse/sql/NAME.sql` as it stands."""
    return (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")


def names(folder: str) -> list[str]:
    """Return the names of the files of a folder below `warehouse/sql`, sorted."""
    return sorted(p.stem for p in (_FOLDER / folder).glob("*.sql"))
