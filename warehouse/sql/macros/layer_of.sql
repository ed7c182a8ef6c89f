-- Folds to a constant when its arguments are constants, so that filters on it prune files.
CREATE MACRO layer_of(layer, head) AS
CASE
    WHEN head IS NULL
    THEN coalesce(
        TRY_CAST(regexp_extract(layer::VARCHAR, '^L(\d{1,3})H(\d{1,3})$', 1) AS SMALLINT), -1
    )
    ELSE coalesce(TRY_CAST(layer AS SMALLINT), -1)
END
