"""One file a page: its route, its panels, and the SQL that each of them asks."""
