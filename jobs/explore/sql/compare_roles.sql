WITH sides AS (
    SELECT r.scan_id, r.role, count(DISTINCT (r.layer, r.head)) AS heads,
        sum(h.variance_share) AS share
    FROM head_roles AS r
    JOIN heads AS h USING (scan_id, layer, head)
    JOIN results AS b ON b.scan_id = r.scan_id AND b.kind = 'roles' AND b.name = r.basis
        AND b.is_default
    WHERE r.scan_id IN (:a, :b) AND r.role IS NOT NULL
    GROUP BY ALL
)
SELECT coalesce(a.role, b.role) AS role, a.heads AS heads_a, b.heads AS heads_b,
    a.share AS share_a, b.share AS share_b
FROM (FROM sides WHERE scan_id = :a) AS a
FULL JOIN (FROM sides WHERE scan_id = :b) AS b ON b.role = a.role
ORDER BY coalesce(share_a, 0) + coalesce(share_b, 0) DESC
