-- The columns of a database's image_metadata, with what is said of them.
SELECT column_name, data_type, comment FROM duckdb_columns()
WHERE database_name = $database AND schema_name = 'main' AND table_name = 'image_metadata'
ORDER BY column_index
