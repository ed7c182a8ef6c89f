"""What is run: one short file per command, the CLI, and the only use of Ray."""
