"""Scripts that write tables and pictures of README, cards and docs."""
