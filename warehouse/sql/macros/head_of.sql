-- As layer_of.
CREATE MACRO head_of(layer, head) AS
CASE
    WHEN head IS NULL
    THEN coalesce(
        TRY_CAST(regexp_extract(layer::VARCHAR, '^L(\d{1,3})H(\d{1,3})$', 2) AS SMALLINT), -1
    )
    ELSE coalesce(TRY_CAST(head AS SMALLINT), -1)
END
