-- As nearest_by_head, with a direction in the head frame in place of a picture's vector.
-- The direction is not centred: <v - mean, t> is what the head adds to the cosine with the text.
WITH given(direction) AS (SELECT vector),

asked_direction AS MATERIALIZED (
    SELECT head_direction(g.direction, layer, head, scan) AS vector FROM given AS g
),

:part.pictures_along_direction,

complaint AS (
    SELECT coalesce(
        head_complaint(layer, head, scan),
        CASE
            WHEN g.direction IS NULL THEN 'no vector; give a direction of the joint space'
            WHEN (SELECT t.vector FROM asked_direction AS t) IS NULL
            THEN 'the vector has ' || len(g.direction) || ' numbers; expected '
                || (SELECT s.d_joint FROM scans AS s WHERE s.scan_id = scan) || ', as an embedding'
                || CASE
                    WHEN EXISTS (SELECT 1 FROM head_frames AS f WHERE f.scan_id = scan) THEN ''
                    ELSE ', and the head frames of scan ''' || scan || ''': run its scan again'
                END
        END,
        search_complaint(metric, k)
    ) AS text
    FROM given AS g
)
