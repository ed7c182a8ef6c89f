SELECT classifier, count(*) AS classes, bool_or(stale) AS stale FROM classifiers
WHERE scan_id = :scan
GROUP BY classifier
ORDER BY classifier
