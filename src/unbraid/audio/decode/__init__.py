"""Decoders of encoded audio, one file per library."""
