(
    SELECT
        coalesce(
            given.pool,
            (
                SELECT any_value(r.name) FROM results AS r
                WHERE r.scan_id = given.scan AND r.kind = 'text_textspan' AND r.is_default
            )
        )
    FROM (SELECT pool, scan) AS given(pool, scan)
)
