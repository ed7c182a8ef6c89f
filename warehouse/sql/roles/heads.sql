-- The heads of every role, in any basis or by hand; of scans and heads that are stored.
SELECT r.scan_id, r.role, r.layer, r.head, list(DISTINCT r.basis ORDER BY r.basis) AS bases
FROM head_roles AS r
JOIN heads AS h ON h.scan_id = r.scan_id AND h.layer = r.layer AND h.head = r.head
WHERE r.role IS NOT NULL
GROUP BY ALL
ORDER BY ALL
