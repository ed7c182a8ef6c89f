"""Parts of the work that several commands share."""
