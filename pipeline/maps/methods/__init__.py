"""One file a family of map methods."""
