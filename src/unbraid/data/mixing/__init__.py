"""Training mixtures, made on the fly."""
