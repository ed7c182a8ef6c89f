CASE
    WHEN scan IS NULL OR NOT EXISTS (SELECT 1 FROM scans AS s WHERE s.scan_id = scan)
    THEN 'no scan ''' || coalesce(scan, 'NULL') || '''; SELECT scan_id FROM scans lists them'
    WHEN NOT EXISTS (
        SELECT 1 FROM classifiers AS c WHERE c.scan_id = scan AND c.classifier = asked
    )
    THEN 'no classifier ''' || coalesce(asked, 'NULL') || ''' in scan ''' || scan
        || '''; there is '
        || coalesce(
            (
                SELECT string_agg(DISTINCT c.classifier, ', ' ORDER BY c.classifier)
                FROM classifiers AS c WHERE c.scan_id = scan
            ),
            'none: headatlas zeroshot makes one'
        )
        || coalesce(
            (
                SELECT '; scan ''' || min(c.scan_id) || ''' has it'
                FROM classifiers AS c WHERE c.classifier = asked
            ),
            ''
        )
    WHEN NOT EXISTS (
        SELECT 1 FROM logit_parts AS p WHERE p.scan_id = scan AND p.classifier = asked
    )
    THEN 'classifier ''' || asked || ''' has no head_logits, since they would be too many; '
        || 'use headatlas ablate'
END
