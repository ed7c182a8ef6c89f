-- A direction of the frame's own width is in the frame already; where heads are stored in the joint
-- space both are the same.
(
    SELECT
        CASE
            WHEN len(g.direction)
                = (
                    SELECT len(h.mean) FROM heads AS h
                    WHERE h.scan_id = scan AND h.layer = layer_of(asked_layer, asked_head)
                        AND h.head = head_of(asked_layer, asked_head)
                )
            THEN g.direction
            ELSE (
                SELECT list(list_inner_product(f.vector, g.direction) ORDER BY f.direction)
                FROM head_frames AS f
                WHERE f.scan_id = scan AND f.layer = layer_of(asked_layer, asked_head)
                    AND f.head = head_of(asked_layer, asked_head) AND len(f.vector) = len(g.direction)
            )
        END
    FROM (SELECT vector::FLOAT[]) AS g(direction)
)
