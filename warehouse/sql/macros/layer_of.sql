-- Folds to a constant when its arguments are constants, so that filters on it prune files.
CASE
    WHEN head IS NULL
    THEN coalesce(
        TRY_CAST(
            regexp_extract(layer::VARCHAR, '^\s*[Ll](\d{1,3})[Hh](\d{1,3})\s*$', 1) AS SMALLINT
        ),
        -1
    )
    ELSE coalesce(TRY_CAST(layer AS SMALLINT), -1)
END
