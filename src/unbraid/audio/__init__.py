"""Recordings in and out: decode, resample, encode; nothing else in unbraid touches audio files."""
