-- Texts are read only where the one that is asked for is not there: `lost` has no row otherwise.
near_text AS (
    SELECT
        coalesce(
            '; did you mean ' || min_by(
                d.text,
                {'apart': 1 - jaro_winkler_similarity(lower(d.text), lower(l.text)), 'text': d.text}
            ) || '?',
            ''
        ) AS said
    FROM description_vectors AS d
    JOIN lost AS l ON l.scan = d.scan_id
    WHERE jaro_winkler_similarity(lower(d.text), lower(l.text)) > 0.8
)
