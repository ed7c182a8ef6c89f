"""Where an image encoder looks for a text: one map per picture and text, by many methods.

Each method is a function `(tower, pixels, texts, labels) -> Maps`; `pipeline.maps.registry` names
them all. The model is walked with its weights and never modified.
"""
