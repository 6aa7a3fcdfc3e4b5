"""Fixed lists of mixtures for validation and test."""
