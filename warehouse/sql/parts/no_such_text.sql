CASE
    WHEN (SELECT t.vector FROM asked_direction AS t) IS NULL
    THEN 'head ' || layer::VARCHAR || coalesce(', ' || head::VARCHAR, '')
        || ' has no text ''' || coalesce(a.text, 'NULL') || ''' in '
        || coalesce('basis ''' || a.basis || '''', 'any basis')
        || ', nor has a pool that this scan''s model has embedded; '
        || 'SELECT text FROM description_vectors lists them' || (SELECT n.said FROM near_text AS n)
END
