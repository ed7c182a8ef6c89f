-- The direction of a text in a head frame: a pick of the basis, or a text of a pool.
-- A plan grows with every macro in it: what is asked is found here once.
asked_basis(text, basis, complaint) AS (
    SELECT text, coalesce(basis, default_basis(scan)),
        CASE WHEN basis IS NOT NULL THEN basis_complaint(basis, scan) END
),

asked_direction AS MATERIALIZED (
    SELECT coalesce(own.vector, head_direction(pool.vector, layer, head, scan)) AS vector
    FROM (
        SELECT any_value(t.vector) AS vector FROM textspan AS t
        JOIN asked_basis AS a ON a.basis = t.basis AND a.text = t.text
        WHERE t.scan_id = scan AND t.layer = layer_of(layer, head) AND t.head = head_of(layer, head)
    ) AS own
    CROSS JOIN (
        SELECT first(d.embedding ORDER BY d.pool) AS vector FROM description_vectors AS d
        JOIN asked_basis AS a ON a.text = d.text
        WHERE d.scan_id = scan
    ) AS pool
),

lost AS (
    SELECT a.text, scan AS scan FROM asked_basis AS a
    CROSS JOIN asked_direction AS t
    WHERE t.vector IS NULL
)
