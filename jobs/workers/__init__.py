"""Plain callables that do a share of a job and leave a file; no Ray here."""
