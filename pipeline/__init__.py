"""What is computed: sources, towers, decomposition, moments, TextSpan. No Ray, no DuckDB."""
