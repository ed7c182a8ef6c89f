"""Results of scans as files, and what they stand on."""
