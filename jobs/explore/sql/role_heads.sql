SELECT h.name, h.variance_share, r.score, r.q_value, r.stability, r.method, r.note
FROM head_roles AS r
JOIN heads AS h ON h.scan_id = r.scan_id AND h.layer = r.layer AND h.head = r.head
WHERE r.scan_id = :scan AND r.basis = :basis AND r.role = :role
ORDER BY h.variance_share DESC
