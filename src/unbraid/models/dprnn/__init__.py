"""DPRNN, and what other models that read chunks along both paths take from it."""
