(
    SELECT
        coalesce(
            given.pairing,
            (
                SELECT any_value(r.name) FROM results AS r
                WHERE r.scan_id = given.scan AND r.kind = 'head_pairs' AND r.is_default
            )
        )
    FROM (SELECT pairing, scan) AS given(pairing, scan)
)
