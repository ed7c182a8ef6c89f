"""The small CLIP and the pictures that ship with HeadAtlas, and the scripts that made them."""
