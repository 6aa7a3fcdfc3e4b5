"""What networks and layers cost, and how that grows."""
