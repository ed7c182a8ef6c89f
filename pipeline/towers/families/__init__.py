"""Families of image encoders, one file each: where tokens, blocks and read-out are."""
