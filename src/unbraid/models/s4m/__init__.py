"""S4M and S4M-tiny."""
