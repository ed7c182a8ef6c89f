"""The layouts in which the field keeps pictures with masks, one file each."""
