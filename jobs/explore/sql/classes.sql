SELECT class, class_name FROM classifiers
WHERE scan_id = :scan AND classifier = :classifier
ORDER BY class_name
