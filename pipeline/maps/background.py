"""What a text alone is compared with: a fixed set of everyday texts."""

from typing import Final

TEMPLATE: Final = "a photo of {}"

NAMES: Final = (
    *("a person", "a face", "a hand", "a crowd", "an animal", "a dog", "a cat", "a bird"),
    *("a horse", "a fish", "an insect", "a plant", "a tree", "a flower", "grass", "a forest"),
    *("a mountain", "a rock", "sand", "snow", "the sky", "clouds", "the sea", "a lake"),
    *("a river", "a road", "a street", "a city", "a building", "a house", "a wall", "a bridge"),
    *("a room", "a floor", "a window", "a table", "a chair", "a car", "a boat", "an airplane"),
    *("food", "fruit", "a bottle", "a book", "a toy", "a tool", "text", "a pattern"),
)

BACKGROUND: Final = tuple(TEMPLATE.format(name) for name in NAMES)
"""48 texts of things, places and surfaces, none of them the whole of what a picture may show."""
