list_transform(
    names,
    lambda n: CASE
        WHEN layer_of(n, NULL) >= 0 THEN 'L' || layer_of(n, NULL) || 'H' || head_of(n, NULL)
        ELSE n
    END
)
