"""Shared fixtures; shapes in signatures are checked in every test by jaxtyping and beartype."""

from jaxtyping import install_import_hook

_hook = install_import_hook(["pipeline", "warehouse"], "beartype.beartype")
