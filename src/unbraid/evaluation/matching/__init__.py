"""Whose estimates are whose: names of files, tracks and sources, as tools write them."""
