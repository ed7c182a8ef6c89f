-- heads whose role is the word, then those whose texts hold it, the strongest texts first
WITH by_role AS (
    SELECT layer, head, 'role: ' || role AS why, 2.0 AS strength
    FROM head_roles
    WHERE scan_id = :scan AND basis = :basis AND contains(lower(role), lower(:find))
),
by_text AS (
    SELECT layer, head, text AS why, explained AS strength
    FROM textspan
    WHERE scan_id = :scan AND basis = :basis AND contains(lower(text), lower(:find))
)
SELECT h.name, any_value(h.variance_share) AS variance_share,
    list(f.why ORDER BY f.strength DESC)[1:3] AS why, max(f.strength) AS strength
FROM (FROM by_role UNION ALL FROM by_text) AS f
JOIN heads AS h ON h.scan_id = :scan AND h.layer = f.layer AND h.head = f.head
GROUP BY h.name
ORDER BY strength DESC, variance_share DESC
LIMIT 24
