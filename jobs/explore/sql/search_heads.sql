-- heads whose basis holds the words, whole, the share they explain first
SELECT h.name, t.text, t.explained, t.property
FROM textspan AS t
JOIN heads AS h ON h.scan_id = t.scan_id AND h.layer = t.layer AND h.head = t.head
WHERE t.scan_id = :scan AND t.basis = :basis
    AND regexp_matches(lower(t.text), '\b' || regexp_escape(lower(:text)) || '\b')
ORDER BY t.explained DESC
LIMIT 6
