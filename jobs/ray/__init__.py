"""Ray at the edge: who runs what, and one rule for what fails."""
