-- As layer_of.
CASE
    WHEN head IS NULL
    THEN coalesce(
        TRY_CAST(
            regexp_extract(layer::VARCHAR, '^\s*[Ll](\d{1,3})[Hh](\d{1,3})\s*$', 2) AS SMALLINT
        ),
        -1
    )
    ELSE coalesce(TRY_CAST(head AS SMALLINT), -1)
END
