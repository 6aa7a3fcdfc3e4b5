"""Encoders, one file per library or format."""
