"""Roles of heads: found, and set by hand."""
