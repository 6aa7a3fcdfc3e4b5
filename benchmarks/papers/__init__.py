"""What models reach: the papers' claims at a small scale, and the protocols they are scored by."""
