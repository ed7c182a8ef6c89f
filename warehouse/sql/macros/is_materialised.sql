-- The list is a literal, so that this folds to a constant when a query is planned.
coalesce(
    list_contains(
        :materialised::VARCHAR[],
        scan || '/L' || layer_of(layer, head) || 'H' || head_of(layer, head)
    ),
    false
)
