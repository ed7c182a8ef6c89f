"""The explorer: the published database as pages, each panel made of one piece of SQL."""
