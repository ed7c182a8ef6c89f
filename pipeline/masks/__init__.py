"""Pictures with masks: one file a layout."""
