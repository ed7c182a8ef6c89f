"""A role for every head: enrichment, the rotation null, combining both."""
