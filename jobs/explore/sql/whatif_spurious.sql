SELECT name AS search, attribute, target,
    list('L' || layer || 'H' || head ORDER BY step) FILTER (chosen) AS heads
FROM spurious_heads
WHERE scan_id = :scan AND classifier = :classifier
GROUP BY ALL
ORDER BY search
