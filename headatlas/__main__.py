"""`python -m headatlas`, and the program `headatlas`."""

import headatlas  # noqa: F401  (first: it sees to it that `jobs` is ours)
from jobs.cli import main

if __name__ == "__main__":
    main()
