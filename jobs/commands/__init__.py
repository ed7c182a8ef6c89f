"""One file a command: its options, what it runs, and what it says when it is done."""
