"""Tables about what heads do: roles, attributes of the pictures, retrieval, stability of picks."""

from typing import Final

from schemas.relations import SCAN, SNAPSHOT, STALE, Column, Table, columns_of
from schemas.retrieval import retrieval_scores_schema
from schemas.roles import attributes_schema, roles_schema, stability_schema

_BASIS: Final = Column("basis", "VARCHAR", "TextSpan basis that this was found from.")

ROLE_TABLES: Final = (
    Table(
        "head_roles",
        "table",
        "One row per head, basis and method: what the head does, or NULL for no clear role.",
        (SCAN, _BASIS, *columns_of(roles_schema()), SNAPSHOT, STALE),
        "SELECT layer, head, role, score, p_value, method FROM head_roles "
        "WHERE role IS NOT NULL ORDER BY q_value LIMIT 5",
    ),
    Table(
        "head_attributes",
        "table",
        "One row per head and attribute of the pictures: how much of the head it explains.",
        (SCAN, *columns_of(attributes_schema()), SNAPSHOT, STALE),
        "SELECT attribute, max_by(format('L{}H{}', layer, head), r2) AS best, max(r2) AS r2 "
        "FROM head_attributes GROUP BY attribute ORDER BY r2 DESC",
    ),
    Table(
        "retrieval_scores",
        "table",
        "One row per attribute and head, or the whole embedding: how well it retrieves pictures "
        "that share the attribute's value. Of the newest run of headatlas evaluate.",
        (SCAN, *columns_of(retrieval_scores_schema()), SNAPSHOT, STALE),
        "SELECT attribute, max_by('L' || layer || 'H' || head, precision_at_k) AS best_head, "
        "max(precision_at_k) FILTER (component = 'head') AS precision, "
        "max(precision_at_k) FILTER (component = 'embedding') AS embedding, "
        "any_value(chance) AS chance FROM retrieval_scores GROUP BY attribute ORDER BY attribute",
    ),
    Table(
        "textspan_stability",
        "table",
        "One row per pick of a basis: how often it survives when the pictures are drawn again.",
        (SCAN, _BASIS, *columns_of(stability_schema()), SNAPSHOT, STALE),
        "SELECT layer, head, avg(survival) AS survival FROM textspan_stability GROUP BY ALL "
        "ORDER BY survival LIMIT 10",
    ),
)
