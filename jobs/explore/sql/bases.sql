SELECT name AS basis, stale, is_default FROM results
WHERE scan_id = :scan AND kind = 'textspan'
ORDER BY is_default DESC, name
