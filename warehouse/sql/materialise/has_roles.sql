SELECT 1 FROM duckdb_tables() WHERE table_name = 'head_roles' AND database_name = current_database()
