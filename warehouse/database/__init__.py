"""The published database: what goes in, how it is built, versioned and asked."""
