SELECT name, other_name, cka, chance, q_value, mutual, assigned, assigned_cka
FROM head_matches
WHERE scan_id = :a AND other_scan = :b
ORDER BY cka DESC
LIMIT 60
