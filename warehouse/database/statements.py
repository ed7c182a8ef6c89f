"""What a person may ask of the published database: statements that read, and SET VARIABLE.

A statement's type is not enough: `WITH z AS (COPY … TO …) FROM z` is a SELECT to DuckDB 2.0, and
writes. So the parsed tree is looked through, by DuckDB's own serialisation of it: every query in it
must be one that reads, and no function may run SQL that is given to it as a text.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import duckdb

from schemas.errors import UsageError

_READS: Final = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
_RUNS_TEXT: Final = {"query", "json_execute_serialized_sql"}
_SET: Final = re.compile(
    r"SET\s+VARIABLE\s+(?:\"[^\"]+\"|\w+)\s*(?:=|\bTO\b)\s*(?P<value>.+)", re.I | re.S
)
_RESET: Final = re.compile(r"RESET\s+VARIABLE\s+(?:\"[^\"]+\"|\w+)\s*;?", re.I)
_EXPLAIN: Final = re.compile(r"EXPLAIN\b(?:\s+ANALYZE\b)?(?P<rest>.+)", re.I | re.S)
_OPTIONS: Final = re.compile(r"\s*\([\w\s,']*\)")


def split(con: duckdb.DuckDBPyConnection, sql: str) -> list[duckdb.Statement]:
    """Return the statements of a text, in order.

    Raises:
        UsageError: there is none.
        duckdb.Error: a text that is no SQL.
    """
    found = con.extract_statements(sql)
    if not found:
        raise UsageError(f"{sql!r} has no statement, so no rows to write; expected a SELECT")
    return found


def require_reading(con: duckdb.DuckDBPyConnection, statements: list[duckdb.Statement]) -> None:
    """Check that all statements are such as may be asked.

    Raises:
        UsageError: one is not, with what may be.
    """
    for statement in statements:
        problem = _problem(con, statement.query.strip(), statement.type.name)
        if problem:
            raise UsageError(
                f"{problem} may not be run here: expected SELECT, EXPLAIN, SHOW, DESCRIBE, "
                "SUMMARIZE or SET VARIABLE; headatlas sql --unrestricted runs anything"
            )


def _problem(con: duckdb.DuckDBPyConnection, text: str, kind: str) -> str | None:
    """Name what may not be run in a statement; None where all may."""
    if kind == "SELECT":
        return _in_query(con, text)
    if kind == "SET":
        match = _SET.fullmatch(text)
        if match:
            return _in_query(con, f"SELECT {match['value']}")
        return None if _RESET.fullmatch(text) else "SET of a setting"
    if kind == "EXPLAIN":
        match = _EXPLAIN.fullmatch(text)
        rest = match["rest"] if match else ""
        problems = [_in_query(con, r) for r in (rest, _OPTIONS.sub("", rest, count=1))]
        return None if None in problems else f"EXPLAIN of {problems[0]}"
    return kind.replace("_", " ")


def _in_query(con: duckdb.DuckDBPyConnection, text: str) -> str | None:
    ((tree,),) = con.execute("SELECT json_serialize_sql($text)", {"text": text}).fetchall()
    document = json.loads(tree)
    if document.get("error", True):
        return "what is no query"
    for node in _nodes(document):
        kind, name = str(node.get("type")), str(node.get("function_name", "")).lower()
        if kind.endswith("_NODE") and kind not in _READS:
            return kind.removesuffix("_NODE").removesuffix("_QUERY").replace("_", " ")
        if name in _RUNS_TEXT:
            return f"{name}()"
    return None


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)
