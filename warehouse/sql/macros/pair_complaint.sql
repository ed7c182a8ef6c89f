coalesce(
    head_complaint(layer, head, scan),
    search_complaint('cosine', k),
    (
        SELECT
            CASE
                WHEN NOT EXISTS (
                    SELECT 1 FROM head_pairs AS p
                    WHERE p.scan_id = given.scan
                        AND p.pairing = coalesce(given.pairing, p.pairing)
                )
                THEN 'no pairing ' || coalesce('''' || given.pairing || ''' ', '') || 'in scan '''
                    || given.scan || '''; there is '
                    || coalesce(
                        (
                            SELECT string_agg(DISTINCT p.pairing, ', ' ORDER BY p.pairing)
                                || near_name(given.pairing, list(DISTINCT p.pairing))
                            FROM head_pairs AS p
                            WHERE p.scan_id = given.scan
                        ),
                        'none yet: headatlas pairs measures one'
                    )
            END
        FROM (SELECT pairing, scan) AS given(pairing, scan)
    )
)
