"""MTFA."""
