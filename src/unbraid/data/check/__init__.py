"""Checks of whole data sets."""
