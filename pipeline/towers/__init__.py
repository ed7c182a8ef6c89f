"""CLIP models: how each family is loaded, walked and read out."""
