CASE
    WHEN scan IS NULL THEN 'no scan is published yet; run headatlas scan'
    WHEN NOT EXISTS (SELECT 1 FROM scans AS s WHERE s.scan_id = scan)
    THEN 'no scan ''' || scan || '''; SELECT scan_id FROM scans lists them'
    WHEN NOT EXISTS (
        SELECT 1 FROM results AS r
        WHERE r.scan_id = scan AND r.kind = 'textspan' AND r.name = coalesce(basis, r.name)
    )
    THEN 'no TextSpan basis ' || coalesce('''' || basis || ''' ', '') || 'in scan ''' || scan
        || '''; there is '
        || coalesce(
            (
                SELECT string_agg(r.name, ', ' ORDER BY r.name) FROM results AS r
                WHERE r.scan_id = scan AND r.kind = 'textspan'
            ),
            'none yet: headatlas textspan makes one'
        )
END
