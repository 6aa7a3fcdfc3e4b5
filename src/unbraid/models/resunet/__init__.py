"""ResUNetDecouple+."""
