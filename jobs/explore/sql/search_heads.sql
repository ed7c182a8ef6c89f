-- heads whose basis holds the text, the share it explains first
SELECT h.name, t.text, t.explained, t.property
FROM textspan AS t
JOIN heads AS h ON h.scan_id = t.scan_id AND h.layer = t.layer AND h.head = t.head
WHERE t.scan_id = :scan AND t.basis = :basis AND contains(lower(t.text), lower(:text))
ORDER BY t.explained DESC
LIMIT 6
