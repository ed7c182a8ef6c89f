WITH given(text, scan) AS (SELECT text, scan),

asked AS (
    SELECT first(d.embedding ORDER BY d.pool) AS vector
    FROM description_vectors AS d
    JOIN given AS g ON g.text = d.text
    WHERE d.scan_id = scan
),

answer AS (
    SELECT n.rank, n.layer, n.head, n.name, n.variance, n.explained, n.scan_id
    FROM asked AS a,
        heads_by_vector(
            -- where there is a complaint any direction does
            coalesce(
                a.vector,
                (SELECT any_value(f.vector) FROM head_frames AS f WHERE f.scan_id = scan)
            ),
            k := k, scan := scan
        ) AS n
),

lost AS (
    SELECT g.text, g.scan FROM given AS g
    CROSS JOIN asked AS a
    WHERE a.vector IS NULL
),

:part.near_text,

complaint AS (
    SELECT coalesce(
        CASE
            :part.scan_is_there
            WHEN (SELECT a.vector FROM asked AS a) IS NULL
            THEN 'no pool that the model of scan ''' || scan || ''' has embedded has the text '''
                || coalesce(given.text, 'NULL')
                || '''; SELECT text FROM description_vectors lists them'
                || (SELECT n.said FROM near_text AS n)
            WHEN NOT EXISTS (SELECT 1 FROM head_frames AS f WHERE f.scan_id = scan)
            THEN 'scan ''' || scan || ''' has no head frames yet: run its scan again'
        END,
        search_complaint('dot', k)
    ) AS text
    FROM given
)
