-- The list is a literal, so that this folds to a constant when a query is planned.
CREATE MACRO is_materialised(layer, head, scan) AS
coalesce(
    list_contains(
        :materialised::VARCHAR[],
        scan || '/L' || layer_of(layer, head) || 'H' || head_of(layer, head)
    ),
    false
)
