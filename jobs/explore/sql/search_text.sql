SELECT any_value(embedding) AS embedding FROM description_vectors
WHERE scan_id = :scan AND text = :text
