-- The list is a literal, so that the macros' other branch is dropped when the query is planned.
CREATE MACRO is_materialised(layer, head, scan) AS
list_contains(
    :materialised::VARCHAR[], scan || '/L' || layer_of(layer, head) || 'H' || head_of(layer, head)
)
