SELECT table_name AS name, any_value(t.comment) AS comment,
    list({'name': c.column_name, 'type': c.data_type, 'comment': c.comment}
        ORDER BY c.column_index) AS columns
FROM duckdb_columns() AS c
JOIN (
    SELECT table_name, comment, schema_name FROM duckdb_tables() WHERE NOT internal
    UNION ALL
    SELECT view_name, comment, schema_name FROM duckdb_views() WHERE NOT internal
) AS t USING (table_name, schema_name)
WHERE c.schema_name = 'main' AND NOT c.internal
GROUP BY table_name
ORDER BY table_name
