(
    SELECT
        CASE
            WHEN given.scan IS NULL OR NOT EXISTS (
                SELECT 1 FROM scans AS s WHERE s.scan_id = given.scan
            )
            THEN 'no scan ''' || coalesce(given.scan, 'NULL')
                || '''; SELECT scan_id FROM scans lists them'
                || near_name(given.scan, :scan_names)
            WHEN NOT EXISTS (
                SELECT 1 FROM classifiers AS c
                WHERE c.scan_id = given.scan AND c.classifier = given.classifier
            )
            THEN 'no classifier ''' || coalesce(given.classifier, 'NULL') || ''' in scan '''
                || given.scan || '''; there is '
                || coalesce(
                    (
                        SELECT string_agg(DISTINCT c.classifier, ', ' ORDER BY c.classifier)
                            || near_name(given.classifier, list(DISTINCT c.classifier))
                        FROM classifiers AS c WHERE c.scan_id = given.scan
                    ),
                    'none: headatlas zeroshot makes one'
                )
                || coalesce(
                    (
                        SELECT '; scan ''' || min(c.scan_id) || ''' has it'
                        FROM classifiers AS c WHERE c.classifier = given.classifier
                    ),
                    ''
                )
            WHEN NOT EXISTS (
                SELECT 1 FROM logit_parts AS p
                WHERE p.scan_id = given.scan AND p.classifier = given.classifier
            )
            THEN 'classifier ''' || given.classifier || ''' has no head_logits, since they would be '
                || 'too many; use headatlas ablate'
        END
    FROM (SELECT asked, scan) AS given(classifier, scan)
)
