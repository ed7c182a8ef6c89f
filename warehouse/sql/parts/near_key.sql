-- Keys are read only where there is no such picture: a join with nothing reads nothing.
near_key AS (
    SELECT
        coalesce(
            '; did you mean ' || min_by(
                i.key,
                {'apart': 1 - jaro_winkler_similarity(lower(i.key), lower(w.key)), 'key': i.key}
            ) || '?',
            ''
        ) AS said
    FROM image_index AS i
    JOIN (
        SELECT g.key, g.scan FROM given AS g
        CROSS JOIN asked_picture AS p
        WHERE p.image_id IS NULL
    ) AS w ON w.scan = i.scan_id
    WHERE jaro_winkler_similarity(lower(i.key), lower(w.key)) > 0.8
)
