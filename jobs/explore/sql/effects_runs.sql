SELECT name AS effects, is_default FROM results
WHERE scan_id = :scan AND kind = 'head_effects' AND name IN (
    SELECT classifier FROM head_effects WHERE scan_id = :scan
)
ORDER BY is_default DESC, name
