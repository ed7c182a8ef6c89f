"""Files that are whole or absent, locks, and where everything lies."""
