"""Description pools: listed, imported, built, compared."""
