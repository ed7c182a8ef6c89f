"""Texts: description pools, the language model that writes them, zero-shot classifiers."""
