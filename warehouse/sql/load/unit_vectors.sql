-- One head. In order of image_id, so that a picture is found by its block's range.
INSERT INTO unit_vectors BY NAME
WITH centred AS (
    SELECT c.image_id, list_distance(c.vector, m.mean) AS norm,
        list_transform(list_zip(c.vector, m.mean), lambda pair: pair[1] - pair[2]) AS vector
    FROM by_layer.:view AS c
    CROSS JOIN (
        SELECT h.mean FROM heads AS h
        WHERE h.scan_id = :scan AND h.layer = :layer AND h.head = :head
    ) AS m
    WHERE c.head = :head
)
SELECT :scan AS scan_id, :layer AS layer, :head AS head, image_id, norm,
    list_transform(vector, lambda x: coalesce(x / nullif(norm, 0), 0)) AS vector
FROM centred
ORDER BY image_id
