"""Shards and snapshots: what a scan keeps, plans, rewrites, verifies and deletes."""
